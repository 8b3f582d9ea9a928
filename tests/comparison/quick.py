"""Runs of many scenarios without processes, for tests that are not about processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedbal.errors import FedbalError
from fedbal.observer import Silent
from fedbal.results import SUMMARY
from fedbal.simulation import RunResult, open_run, run_here
from fedbal.sweep import FailedRun, OpenRun
from fedbal.sweep_worker import Federations


def run_many(scenarios, out, *, workers=None, observer=None, admit=None, ended=None):
    """Do what :func:`fedbal.sweep.run_many` does, one run after the other in this process."""
    federations, results = Federations(), []
    for index, (scenario, directory) in enumerate(zip(scenarios, out, strict=True)):
        if admit is not None and not admit(index):
            results.append(OpenRun(directory, "it was not begun"))
            continue
        results.append(
            _run(scenario, Path(directory), observer(index) if observer else Silent(), federations)
        )
        if ended is not None:
            ended(index, results[-1])
    return results


def _run(scenario, directory, observer, federations) -> RunResult | FailedRun:
    if (directory / SUMMARY).exists():
        return open_run(directory)
    try:
        return run_here(scenario, directory, observer, federations.of)
    except FedbalError as error:
        return FailedRun(directory, str(error))
    except Exception as error:
        return FailedRun(directory, f"{type(error).__name__}: {error}")


def in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Let comparisons and their tuning run in this process."""
    patch.setattr("fedbal.comparison.execute.run_many", run_many)
