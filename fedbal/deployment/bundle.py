"""The Flower app of a deployed run: two entry modules and the resolved scenario; the installed fedbal works."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from fedbal.deployment.entry import JOB, MODULES, PACKAGE, PROJECT, SCENARIO
from fedbal.scenario import Scenario

__all__ = ["JOB", "PACKAGE", "SCENARIO", "identity", "write_bundle"]


def identity(scenario: Scenario) -> str:
    """Return the SHA-256 of everything in a scenario that a run's numbers depend on.

    Deadlines and the size of the smallest cohort (``deployment``) are left out: they may change between two parts
    of a run.
    """
    values = {key: value for key, value in scenario.resolved().items() if key != "deployment"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_bundle(scenario: Scenario, folder: Path) -> Path:
    """Write the app into a new or empty folder and return it.

    Parameters
    ----------
    scenario : Scenario
        As :func:`fedbal.scenario.one_by_one` returns it.
    folder : Path
        Made if it does not exist.
    """
    package = folder / PACKAGE
    package.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    for name, text in MODULES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (package / SCENARIO).write_text(scenario.to_yaml(), encoding="utf-8")
    return folder
