"""The commands: what they print, how they fail, what they do not import."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import fedbal
from fedbal.cli import app
from fedbal.cli_list import KINDS
from fedbal.errors import RunError
from fedbal.scenario import json_schema, load, shipped

HEAVY = ("torch", "flwr", "ray", "pandas", "matplotlib", "sklearn", "scipy", "datasets", "pyarrow")

WITHOUT_HEAVY = f"""
import sys
from fedbal.cli import main
try:
    main()
except SystemExit as stop:
    code = stop.code
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})


def fails(code: int, *arguments: str) -> str:
    done = call(*arguments)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["validate", "quickstart"],
        ["validate", "quickstart", "--set", "strategy=fedprox", "--resolved"],
        ["list", "strategies"],
        ["list", "scenarios"],
        ["list", "datasets"],
        ["schema"],
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    command = [sys.executable, "-c", WITHOUT_HEAVY, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    assert done.stdout.strip()


def test_a_failing_validate_imports_nothing_heavy_either(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("rounds: 0\n")
    command = [sys.executable, "-c", WITHOUT_HEAVY, "validate", str(tmp_path / "wrong.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "[]"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, fedbal; fedbal.load; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    done = call("--version")
    assert (done.exit_code, done.stdout) == (0, f"fedbal {fedbal.__version__}\n")


@pytest.mark.parametrize("command", ["run", "validate", "partition", "list", "show", "schema", "calibrate"])
def test_help_teaches_by_example(command: str) -> None:
    assert command in call("--help").stdout
    text = call(command, "--help").stdout
    assert "Example" in text
    assert f"fedbal {command}" in text.split("Example", 1)[1]
    assert "\\b" not in text


def test_examples_in_the_help_are_accepted() -> None:
    text = "".join(call(command, "--help").stdout for command in ("validate", "run", "partition"))
    changes = [change for line in re.findall(r"fedbal \w+ quickstart .*", text) for change in _sets(line)]
    assert len(changes) >= 4
    for change in changes:
        load("quickstart", [change])


def _sets(line: str) -> list[str]:
    return [quoted or plain for quoted, plain in re.findall(r"--set (?:'([^']+)'|(\S+))", line)]


def test_validate_says_what_would_run() -> None:
    done = call("validate", "quickstart", "--set", "strategy={name: fedprox, mu: 1}", "--set", "rounds=7")
    assert done.exit_code == 0
    assert done.stdout == (
        "quickstart is valid: fedprox with proximal clients, mlp on digits (dirichlet), 7 rounds.\n"
    )


def test_validate_prints_the_resolved_scenario(tmp_path: Path) -> None:
    done = call("validate", "quickstart", "--resolved", "--set", "seed=5")
    path = tmp_path / "resolved.yaml"
    path.write_text(done.stdout)
    assert load(path).resolved() == load("quickstart", ["seed=5"]).resolved()


@pytest.mark.parametrize("name", [name for name, _ in shipped()])
def test_every_shipped_scenario_validates(name: str) -> None:
    assert call("validate", name).exit_code == 0


@pytest.mark.parametrize("command", ["run", "validate", "partition"])
def test_every_command_with_a_scenario_takes_set_and_names_its_problems(command: str) -> None:
    stderr = fails(2, command, "quickstart", "--set", "strategy.a=-1", "--set", "cohort.fraction=0")
    assert "--set strategy.a=-1: strategy.a: got -1; a number >= 0 is needed" in stderr
    assert "--set cohort.fraction=0: cohort.fraction: got 0; a number > 0 and <= 1" in stderr


@pytest.mark.parametrize("command", ["run", "validate", "partition"])
def test_an_unknown_scenario(command: str) -> None:
    stderr = fails(2, command, "quickstrat")
    assert "did you mean quickstart?" in stderr
    assert "natural-clients" in stderr


@pytest.mark.parametrize("kind", list(KINDS))
def test_list_prints_one_line_each_with_the_paper(kind: str) -> None:
    done = call("list", kind)
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert len(lines) == len(KINDS[kind]())
    for line, (name, summary, paper) in zip(lines, KINDS[kind](), strict=True):
        assert line.startswith(name)
        assert summary in line
        assert paper in line


def test_list_knows_the_rules_and_their_papers() -> None:
    text = call("list", "strategies").stdout
    for name, paper in (("fedavg", "AISTATS 2017"), ("fedprox", "MLSys 2020"), ("feddisco", "ICML 2023")):
        assert re.search(rf"^{name} .*{paper}", text, re.MULTILINE)


def test_list_of_something_unknown() -> None:
    assert "unknown kind 'strategie' (did you mean strategies" in fails(2, "list", "strategie")


def test_schema_is_the_schema() -> None:
    assert json.loads(call("schema").stdout) == json_schema()


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["run"], "give a scenario"),
        (["run", "quickstart", "--resume", "x"], "--resume takes no scenario, no --set and no --out"),
        (["run", "--resume", "x", "--set", "seed=1"], "--resume takes no scenario, no --set and no --out"),
        (["run", "--resume", "x", "--out", "y"], "--resume takes no scenario, no --set and no --out"),
        (["run", "--resume", "no-such-folder"], "no-such-folder is not a run directory"),
        (["show", "no-such-folder"], "no-such-folder is not a run directory"),
        (["run", "quickstart", "--sett", "a=1"], "No such option"),
        (["frobnicate"], "No such command"),
        (["validate"], "Missing argument"),
        (["partition", "quickstart", "--plot", "picture.nonsense"], "--plot picture.nonsense"),
        (["partition", "own-images"], "my_images.npz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], fragment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    assert done.exit_code == 2
    assert fragment in done.stderr
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedbal import simulation

    def broken(*_: object, **__: object) -> None:
        raise RunError("the disk is full.")

    monkeypatch.setattr(simulation, "run", broken)
    assert fails(1, "run", "quickstart") == "error: the disk is full.\n"


def test_ctrl_c_outside_a_run_is_130_without_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedbal import scenario

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scenario, "load", interrupted)
    assert fails(130, "validate", "quickstart") == "stopped.\n"


def test_module_and_script_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fedbal", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"fedbal {fedbal.__version__}\n"
