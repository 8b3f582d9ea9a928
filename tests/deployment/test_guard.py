"""Only apps whose modules are the installed fedbal's are unpacked, by Flower's own processes too."""

from __future__ import annotations

import importlib
import inspect
import io
import os
import re
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

from fedbal.deployment import guard
from fedbal.deployment.bundle import write_bundle
from fedbal.errors import RunError
from fedbal.scenario import load, one_by_one


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = write_bundle(one_by_one(load("quickstart")), tmp_path_factory.mktemp("app"))
    built: bytes = build_fab_from_disk(folder)
    return built


def changed(app: bytes, files: Mapping[str, bytes | None]) -> bytes:
    """Return an app with files replaced, added or (None) taken out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(app)) as old, zipfile.ZipFile(buffer, "w") as new:
        names = list(dict.fromkeys([*old.namelist(), *files]))
        for name in names:
            data = files[name] if name in files else old.read(name)
            if data is not None:
                new.writestr(name, data)
    return buffer.getvalue()


def refused(app: bytes) -> str:
    with pytest.raises(RunError) as caught:
        guard.require_ours(app)
    return str(caught.value)


def read(app: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(app)) as archive:
        return archive.read(name)


def test_the_app_of_a_run_passes(ours: bytes) -> None:
    guard.require_ours(ours)


def test_another_scenario_passes_for_it_is_judged_elsewhere(ours: bytes) -> None:
    guard.require_ours(changed(ours, {"fedbal_run/scenario.yaml": b"name: another\n"}))


@pytest.mark.parametrize(
    "name",
    ["torch.py", "fedbal/__init__.py", "fedbal_run/more.py", "fedbal_run/more.pth", "sitecustomize.py"],
)
def test_a_file_more_is_refused(ours: bytes, name: str) -> None:
    assert f"{name} was added" in refused(changed(ours, {name: b"print('hello')\n"}))


@pytest.mark.parametrize("name", ["client.py", "server.py", "__init__.py"])
def test_a_changed_module_is_refused(ours: bytes, name: str) -> None:
    text = read(ours, f"fedbal_run/{name}") + b"import os\n"
    assert f"fedbal_run/{name} is another" in refused(changed(ours, {f"fedbal_run/{name}": text}))


def test_a_missing_module_is_refused(ours: bytes) -> None:
    assert "fedbal_run/client.py is missing" in refused(changed(ours, {"fedbal_run/client.py": None}))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'clientapp = "fedbal_run.client:app"', b'clientapp = "os:system"', "names other modules"),
        (b"dependencies = []", b'dependencies = ["evil"]', "names other modules"),
        (b'version = "', b'version = "9.', "it was made by version 9."),
    ],
)
def test_a_changed_project_is_refused(ours: bytes, old: bytes, new: bytes, says: str) -> None:
    text = read(ours, "pyproject.toml")
    assert old in text
    assert says in refused(changed(ours, {"pyproject.toml": text.replace(old, new, 1)}))


def test_a_file_that_is_there_twice_is_refused(ours: bytes) -> None:
    buffer = io.BytesIO(ours)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("fedbal_run/client.py", read(ours, "fedbal_run/client.py"))
    assert "twice" in refused(buffer.getvalue())


def test_what_is_no_app_is_refused(ours: bytes) -> None:
    assert "no archive" in refused(b"hello")
    assert "larger than" in refused(changed(ours, {"fedbal_run/scenario.yaml": b" " * 5_000_000}))


@pytest.mark.parametrize("kind", [guard.CLIENT_APP, guard.SERVER_APP])
def test_flowers_process_unpacks_by_the_function_that_is_replaced(
    kind: str, ours: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, where = guard._PLACES[kind]
    module = importlib.import_module(where)
    package, _, function = command.partition(":")
    unpacked: list[bytes] = []

    def started() -> None:
        (name,) = re.findall(r"(\w+)\(fab\.content, skip_prompt=True\)", inspect.getsource(module))
        assert name == "install_from_fab"
        with pytest.raises(RunError, match=r"torch\.py was added"):
            getattr(module, name)(changed(ours, {"torch.py": b""}), skip_prompt=True)
        getattr(module, name)(ours, skip_prompt=True)

    monkeypatch.setattr(module, "install_from_fab", lambda app, skip_prompt: unpacked.append(app))
    monkeypatch.setattr(importlib.import_module(package), function, started)
    monkeypatch.setattr("sys.argv", ["guard", kind])
    guard.main()
    assert unpacked == [ours]


def test_nothing_is_unpacked_that_is_refused(ours: bytes) -> None:
    unpacked: list[bytes] = []
    install = guard.guarded(lambda app, skip_prompt: unpacked.append(app))
    with pytest.raises(RunError):
        install(changed(ours, {"torch.py": b""}), skip_prompt=True)
    assert unpacked == []
    install(ours, skip_prompt=True)
    assert unpacked == [ours]


def test_commands_start_one_kind_and_no_other(tmp_path: Path) -> None:
    folder = guard.commands(tmp_path / "with space" / "bin", guard.CLIENT_APP)
    assert {path.name for path in folder.iterdir()} == {guard.CLIENT_APP, guard.SERVER_APP, *guard.OTHERS}
    assert folder.stat().st_mode & 0o777 == 0o700
    done = {
        name: subprocess.run(
            [folder / name, "--help"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ},
            cwd=tmp_path,
        )
        for name in (guard.CLIENT_APP, guard.SERVER_APP, "flwr-simulation")
    }
    assert done[guard.CLIENT_APP].returncode == 0, done[guard.CLIENT_APP].stderr
    assert "Run a Flower ClientApp" in done[guard.CLIENT_APP].stdout
    for name in (guard.SERVER_APP, "flwr-simulation"):
        assert done[name].returncode == 1
        assert f"{name} is not started here" in done[name].stderr
