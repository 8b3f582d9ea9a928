"""The shipped units and container file go with the commands, the bundles and the clone as they are."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from typer.main import get_command

from fedbal.cli import app
from fedbal.deployment.site_bundle import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "packaging" / "systemd"
UNITS = ("fedbal-client", "fedbal-server")
SETTINGS = {
    "fedbal-client": ENVIRONMENT.format(server="a.local:8000", name="site-1", key="site-1.key"),
    "fedbal-server": (SYSTEMD / "coordinator.env").read_text(encoding="utf-8"),
}


def unit(name: str) -> str:
    return (SYSTEMD / f"{name}.service").read_text(encoding="utf-8")


def settings(name: str) -> dict[str, str]:
    lines = [line for line in SETTINGS[name].splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def parsed(words: list[str]) -> click.Context:
    group = get_command(app)
    assert isinstance(group, click.Group)
    outer = click.Context(group, info_name="fedbal")
    command = group.get_command(outer, words[0])
    assert command is not None
    return command.make_context(words[0], words[1:], parent=outer)


@pytest.mark.parametrize("name", UNITS)
def test_the_command_of_a_unit_is_one_with_the_settings_that_come_with_it(name: str) -> None:
    (line,) = re.findall(r"^ExecStart=/opt/fedbal/bin/fedbal (.+)$", unit(name), flags=re.M)
    known = settings(name)
    asked = set(re.findall(r"\$\{?([A-Z_]+)\}?", line))
    assert asked == known.keys()
    filled = re.sub(r"\$\{?([A-Z_]+)\}?", lambda found: known[found[1]], line)
    context = parsed(shlex.split(filled))
    (folder,) = re.findall(r"^StateDirectory=(.+)$", unit(name), flags=re.M)
    assert context.params["state"] == f"/var/lib/{folder}"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_hardened(name: str) -> None:
    lines = set(unit(name).splitlines())
    wanted = (
        "User=fedbal",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "CapabilityBoundingSet=",
    )
    assert set(wanted) - lines == set()
    (path,) = re.findall(r"^Environment=PATH=(.+)$", unit(name), flags=re.M)
    assert path.split(":")[0] == "/opt/fedbal/bin"


def test_a_site_comes_back_always_and_a_finished_coordinator_does_not() -> None:
    assert "Restart=always" in unit("fedbal-client").splitlines()
    assert "Restart=on-failure" in unit("fedbal-server").splitlines()
    assert all("StartLimitIntervalSec=0" in unit(name).splitlines() for name in UNITS)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_a_unit(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.service"
    file.write_text(unit(name).replace("/opt/fedbal/bin/fedbal", shutil.which("true") or "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_container_file_copies_what_there_is_and_the_build_needs() -> None:
    folder = ROOT / "packaging" / "container"
    text = (folder / "Containerfile").read_text(encoding="utf-8")
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.M) for word in line.split()
    }
    assert copied >= {"pyproject.toml", "fedbal", "strategies", "clients", "scenarios", "constraints.txt"}
    assert all((ROOT / name).exists() for name in copied)
    allowed = {
        line[1:] for line in (folder / "Containerfile.dockerignore").read_text().split() if line[0] == "!"
    }
    assert allowed == copied


def test_the_container_does_not_run_as_root_and_its_shell_is_sound(tmp_path: Path) -> None:
    text = (ROOT / "packaging" / "container" / "Containerfile").read_text(encoding="utf-8")
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001$", last, flags=re.M)
    assert "ENTRYPOINT" in last
    for script in re.findall(r"^RUN (.+?[^\\])$", text, flags=re.M | re.S):
        done = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("machine", "wanted"), [("aarch64", "torch==2.10.0"), ("x86_64", None)])
def test_the_container_chooses_a_torch_without_cuda(machine: str, wanted: str | None, tmp_path: Path) -> None:
    text = (ROOT / "packaging" / "container" / "Containerfile").read_text(encoding="utf-8")
    script = re.findall(r"^RUN (set -eu;.+?[^\\])$", text, flags=re.M | re.S)[0]
    script = script.replace("python -m venv /opt/fedbal;", "").replace("/opt/fedbal/bin/pip", "echo")
    script = script.replace("$(uname -m)", machine)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    pins = (tmp_path / "pins.txt").read_text().splitlines()
    shipped = next(
        line for line in (tmp_path / "constraints.txt").read_text().splitlines() if "torch==" in line
    )
    assert [pin for pin in pins if pin.startswith("torch==")] == [wanted or shipped]
    assert ("whl/cpu" in done.stdout) == (machine == "x86_64")
