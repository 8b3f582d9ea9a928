"""Runs no code that comes over the network: a SuperLink's port takes apps from whoever reaches it.

Flower starts an app's process by the name of a command on PATH. ``commands`` makes a folder with commands of these
names, to be put first: an app is unpacked only if its modules are, byte for byte, those of the installed fedbal.
"""

from __future__ import annotations

import importlib
import io
import shlex
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from fedbal.deployment.entry import MODULES, PACKAGE, PROJECT, SCENARIO
from fedbal.errors import RunError

CLIENT_APP, SERVER_APP = "flwr-clientapp", "flwr-serverapp"
OTHERS = ("flwr-agentapp", "flwr-connector", "flwr-model", "flwr-simulation")
"""Kinds of task that a deployment of fedbal does not have."""
MOST_BYTES = 4_000_000
"""Unpacked, a scenario and two modules take a few thousand."""
_SHOWN = 3
_PLACES = {
    CLIENT_APP: ("flwr.supernode.cli:flwr_clientapp", "flwr.supernode.runtime.run_clientapp"),
    SERVER_APP: ("flwr.superlink.cli:flwr_serverapp", "flwr.superlink.runtime.run_serverapp"),
}
"""The function behind each command, and the module in which it unpacks an app."""
_PROJECT = "pyproject.toml"
_DATA = {_PROJECT, f"{PACKAGE}/{SCENARIO}", ".info/CONTENT"}


def commands(folder: Path, runs: str) -> Path:
    """Write the commands by which Flower starts apps.

    Parameters
    ----------
    folder : Path
        Where; made if it does not exist, open to nobody else.
    runs : str
        The one kind that may be started: ``CLIENT_APP`` at a site, ``SERVER_APP`` at a coordinator.

    Returns
    -------
    Path
        ``folder``, absolute, to be put first on PATH.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # -P: the current folder must not hide installed packages.
    start = f"exec {shlex.quote(sys.executable)} -P -m fedbal.deployment.guard {runs} " + '"$@"'
    for name in (CLIENT_APP, SERVER_APP, *OTHERS):
        refuse = f"echo 'fedbal: {name} is not started here' >&2; exit 1"
        beside = folder / f".{name}.new"
        beside.write_text(f"#!/bin/sh\n{start if name == runs else refuse}\n", encoding="utf-8")
        beside.chmod(0o700)
        beside.replace(folder / name)
    return folder


def require_ours(app: bytes) -> None:
    """Refuse an app that brings code of its own.

    Parameters
    ----------
    app : bytes
        The archive (FAB) as Flower hands it over.

    Raises
    ------
    RunError
        A module is missing, changed or added, or another one is named as the app.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(app)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if sum(entry.file_size for entry in entries) > MOST_BYTES:
                raise RunError(
                    f"the app of this run is larger than {MOST_BYTES} bytes; a run of fedbal is small."
                )
            files = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise RunError(f"the app of this run is no archive that can be read: {error}.") from error
    project = _project(files.get(_PROJECT, b""))
    version = str(project.get("project", {}).get("version", "none"))
    ours = tomllib.loads(PROJECT)
    problems = []
    if version != ours["project"]["version"]:
        problems.append(f"it was made by version {version}, here is {ours['project']['version']}")
    problems += [f"{name} was added" for name in sorted(files.keys() - _DATA - MODULES.keys())]
    problems += [f"{name} is missing" for name in sorted((_DATA | MODULES.keys()) - files.keys())]
    problems += [
        f"{name} is another"
        for name, text in MODULES.items()
        if files.get(name, text.encode()) != text.encode()
    ]
    if len(entries) != len(files):
        problems.append("a file is in it twice")
    if _app(project) != _app(ours):
        problems.append(f"{_PROJECT} names other modules")
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise RunError(
            f"this run brings code that is not the installed fedbal's, and none of it was started: "
            f"{'; '.join(problems[:_SHOWN])}{more}. Install the same version of fedbal on coordinator and sites."
        )


def _project(text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _app(project: dict[str, Any]) -> tuple[Any, Any]:
    app = project.get("tool", {}).get("flwr", {}).get("app", {})
    return project.get("project", {}).get("dependencies"), app.get("components")


def guarded(install: Callable[..., Any]) -> Callable[..., Any]:
    """Return what unpacks an app if it is ours."""

    def checked(fab_file: Path | bytes, *arguments: Any, **options: Any) -> Any:
        require_ours(fab_file if isinstance(fab_file, bytes) else fab_file.read_bytes())
        return install(fab_file, *arguments, **options)

    return checked


def main() -> None:
    """Run one of Flower's app processes, with the check before its app is unpacked.

    The two functions replaced are private to Flower; ``tests/deployment/test_guard.py`` fails when they move.
    """
    kind = sys.argv.pop(1)
    sys.argv[0] = kind
    if kind not in _PLACES:
        raise SystemExit(f"fedbal: {kind} is not started here")
    if kind == CLIENT_APP:
        _leave_out_supernode()
    command, where = _PLACES[kind]
    # By name: the package has a function of the same name that hides the module.
    module = importlib.import_module(where)
    module.install_from_fab = guarded(module.install_from_fab)  # type: ignore[attr-defined]
    package, _, function = command.partition(":")
    getattr(importlib.import_module(package), function)()


def _leave_out_supernode() -> None:
    # Flower's command for one message imports the whole SuperNode beside it: 40 % of its start.
    name = "flwr.supernode.cli.flower_supernode"
    empty: Any = ModuleType(name)
    empty.flower_supernode = None
    sys.modules.setdefault(name, empty)


if __name__ == "__main__":
    main()
