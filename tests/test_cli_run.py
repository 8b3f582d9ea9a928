"""``fedbal run`` and ``show`` on real runs; the observers; the same in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import fedbal
from fedbal import progress, terminal
from fedbal.cli import app
from fedbal.cli_run import print_result
from fedbal.observer import Silent
from fedbal.progress import Lines, Live, Watcher, watcher
from fedbal.scenario import load
from tests.scenarios import DIGITS, digits

SMALL = ["--set", "rounds=3", "--set", "data.partition.clients=5", "--set", "client.local_epochs=1"]
ROW = {
    "round": 1,
    "test": {"accuracy": 0.5, "balanced_accuracy": 0.25, "loss": 1.0},
    "seconds": 0.1,
    "sampled": 4,
    "replied": 3,
}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("runs") / "mine"
    return out, call("run", "quickstart", *SMALL, "--out", str(out))


def test_run_prints_rounds_a_table_and_the_directory(finished: tuple[Path, Result]) -> None:
    out, done = finished
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    summary = json.loads((out / "summary.json").read_text())
    assert lines[0] == f"quickstart: feddisco on digits, 3 rounds -> {out}"
    assert [line.split()[:2] for line in lines[1:4]] == [["round", f"{number}/3"] for number in (1, 2, 3)]
    assert lines[-3].split()[:2] == ["strategy", "rounds"]
    final = summary["final"]
    expected = [final[key] for key in ("accuracy", "balanced_accuracy", "macro_f1", "worst_class_recall")]
    assert lines[-2].split()[:6] == ["feddisco", "3", *(f"{value:.4f}" for value in expected)]
    assert lines[-1] == f"run directory: {out}"


def test_run_writes_the_resolved_scenario(finished: tuple[Path, Result]) -> None:
    out, _ = finished
    engine = ["runtime.vectorize=false", "runtime.compile=false"]
    expected = load("quickstart", ["rounds=3", "data.partition.clients=5", "client.local_epochs=1", *engine])
    assert load(out / "scenario.yaml").resolved() == expected.resolved()


def test_quiet_prints_one_line(tmp_path: Path) -> None:
    out = tmp_path / "q"
    done = call("run", "quickstart", *SMALL, "--quiet", "--out", str(out))
    (line,) = done.stdout.splitlines()
    assert line.startswith("feddisco: 3 rounds, accuracy 0.")
    assert line.endswith(str(out))


def test_without_out_the_directory_is_new_and_named_after_the_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("run", "quickstart", *SMALL, "-q").exit_code == 0
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name.startswith("quickstart-")


def test_a_directory_with_another_run_is_refused(finished: tuple[Path, Result]) -> None:
    out, _ = finished
    before = (out / "rounds.jsonl").read_bytes()
    done = call("run", "quickstart", *SMALL, "--out", str(out))
    assert done.exit_code == 2
    assert "holds another run" in done.stderr
    assert (out / "rounds.jsonl").read_bytes() == before


def test_resuming_a_finished_run_says_so_and_shows_it(finished: tuple[Path, Result]) -> None:
    out, first = finished
    done = call("run", "--resume", str(out))
    assert done.exit_code == 0
    assert "nothing to resume" in done.stderr
    assert done.stdout.splitlines() == first.stdout.splitlines()[-3:]


def test_show_a_finished_run(finished: tuple[Path, Result]) -> None:
    out, _ = finished
    done = call("show", str(out))
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == ["quickstart: feddisco on digits", "finished, 3 of 3 rounds"]
    assert "last 3 rounds" in lines
    assert "recall of each class after round 3" in lines
    assert sum(line.split()[:1] == [str(label)] for label in range(10) for line in lines) >= 10
    assert lines[-1].startswith("in all: ")


def test_show_a_run_that_was_cut_off(finished: tuple[Path, Result], tmp_path: Path) -> None:
    out, _ = finished
    copy = tmp_path / "cut"
    copy.mkdir()
    (copy / "scenario.yaml").write_bytes((out / "scenario.yaml").read_bytes())
    assert "no round is finished yet." in call("show", str(copy)).stdout
    rounds = (out / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "rounds.jsonl").write_bytes(rounds[0] + rounds[1][:20])
    lines = call("show", str(copy)).stdout.splitlines()
    assert lines[1] == "interrupted, 1 of 3 rounds"
    assert lines[-1] == f"go on with: fedbal run --resume {copy}"


def test_show_rounds_without_evaluation(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(load("quickstart").to_yaml())
    row = {
        "round": 1,
        "test": None,
        "seconds": 1.0,
        "bytes_up": None,
        "bytes_down": 5,
        "sampled": 2,
        "replied": 2,
    }
    (tmp_path / "rounds.jsonl").write_text(json.dumps(row) + "\n")
    done = call("show", str(tmp_path))
    assert done.exit_code == 0
    assert "last round" in done.stdout
    assert "recall" not in done.stdout


def test_a_diverged_run_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    summary = {
        "strategy": "fedavg",
        "rounds": 2,
        "final": None,
        "status": "diverged",
        "seconds": {},
        "bytes": {},
    }
    print_result(summary, Path("d"))
    shown = capsys.readouterr()
    assert "the run diverged" in shown.err
    assert shown.out.splitlines()[1].split() == ["fedavg", "2", "-", "-", "-", "-", "-", "-"]


class Recorder(Silent):
    def __init__(self) -> None:
        self.rounds: list[int] = []

    def round_finished(self, row: Mapping[str, Any]) -> None:
        self.rounds.append(row["round"])


def test_python_does_the_same(tmp_path: Path, finished: tuple[Path, Result]) -> None:
    recorder = Recorder()
    changes = ["rounds=3", "data.partition.clients=5", "client.local_epochs=1"]
    result = fedbal.run("quickstart", tmp_path / "a", overrides=changes, observer=recorder)
    assert recorder.rounds == [1, 2, 3]
    assert result.status == "finished"
    assert (result.directory / "model.safetensors").read_bytes() == (
        finished[0] / "model.safetensors"
    ).read_bytes()
    assert fedbal.resume(result.directory).summary == result.summary


def test_python_runs_scenarios_mappings_and_changed_scenarios(tmp_path: Path) -> None:
    models = {
        fedbal.run(given, tmp_path / name, overrides=changes)
        .directory.joinpath("model.safetensors")
        .read_bytes()
        for name, given, changes in (
            ("scenario", digits("rounds=1"), []),
            ("changed", digits(), ["rounds=1"]),
            ("mapping", {**DIGITS, "rounds": 1}, []),
        )
    }
    assert len(models) == 1


def test_the_package_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        fedbal.nonsense  # type: ignore[attr-defined]


def test_the_watcher_fits_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    assert type(watcher(quiet=False)) is Live
    assert type(watcher(quiet=True)) is Watcher
    monkeypatch.setattr(progress, "is_terminal", lambda: False)
    assert type(watcher(quiet=False)) is Lines


def test_long_runs_print_one_line_every_5_percent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    lines = Lines()
    lines.started(digits("rounds=1000"), Path("d"), 1)
    for number in range(1, 1001):
        lines.round_finished({**ROW, "round": number})
    printed = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[1] for line in printed] == [f"{number}/1000" for number in range(50, 1001, 50)]


def test_slow_runs_print_every_round_and_a_resumed_one_says_from_where(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    lines = Lines()
    lines.started(digits("rounds=500"), Path("d"), 7)
    lines.round_finished({**ROW, "round": 7})
    lines.round_finished({"round": 8, "test": None, "seconds": 75.0})
    assert capsys.readouterr().out.splitlines() == [
        "small: fedavg on digits, 500 rounds, from round 7 -> d",
        "round 7/500  accuracy 0.500  balanced 0.250  loss 1.000  0.10 s",
        "round 8/500  not evaluated  1 min 15 s",
    ]


def test_the_live_bar_keeps_the_last_scores_and_leaves_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Live() as live:
        live.note("before the bar")
        live.started(digits("rounds=2"), Path("d"), 1)
        live.round_finished(ROW)
        live.round_finished({"round": 2, "test": None, "seconds": 0.1})
        live.note("[red]a warning[/red]")
        assert live._progress is not None
        task = live._progress.tasks[0]
        assert (task.completed, task.total) == (2, 2)
        assert task.fields["scores"].startswith("accuracy 0.500  balanced 0.250")
    assert live._progress is None
    shown = capsys.readouterr()
    assert "[red]a warning[/red]" in shown.out
    assert "note: before the bar" in shown.err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.4249, "0.42 s"), (12.34, "12.3 s"), (245.0, "4 min 05 s"), (11_520.0, "3 h 12 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert terminal.duration(seconds) == text


def test_tables_on_a_terminal_show_every_cell_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    terminal.table(["name", "n"], [["[bold]x[/bold]", "1.50 s"], ["y", "-"]], title="a [b] title")
    shown = capsys.readouterr().out
    for text in ("a [b] title", "[bold]x[/bold]", "1.50 s"):
        assert text in shown


def test_plain_tables_align_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table(["name", "n"], [["x", "1"], ["yy", "100"]])
    assert capsys.readouterr().out == "name    n\nx       1\nyy    100\n"
