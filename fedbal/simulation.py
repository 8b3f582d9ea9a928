"""Simulates a scenario: in this process or on Ray, into a run directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbal.assembly import assemble
from fedbal.backend import HERE, choose_device, choose_placement, make_grid
from fedbal.data.federation import Federation
from fedbal.determinism import pinned
from fedbal.driver import drive, quiet, require_same
from fedbal.engine import recorded
from fedbal.errors import UsageError
from fedbal.frames import frame
from fedbal.interrupts import Interrupted, Signals
from fedbal.journal import AfterRound
from fedbal.observer import Observer, Silent
from fedbal.results import SCENARIO, SITES, STATES, RunDirectory, RunReader, default_directory, require_empty
from fedbal.scenario import Scenario, load

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

__all__ = ["Interrupted", "RunResult", "open_run", "resume", "run"]


@dataclass(frozen=True)
class RunResult:
    """A run.

    Attributes
    ----------
    directory : Path
        The run directory.
    summary : dict
        Content of ``summary.json``; of a run that is not finished its ``status`` alone.
    """

    directory: Path
    summary: dict[str, Any]

    @property
    def status(self) -> str:
        """``finished`` or ``diverged``; of a run opened before its end ``running`` or ``interrupted``."""
        return str(self.summary["status"])

    @property
    def rounds(self) -> pd.DataFrame:
        """One line a round, nested objects as dotted columns (``test.accuracy``); needs pandas."""
        return frame(RunReader(self.directory).rounds())

    @property
    def clients(self) -> pd.DataFrame:
        """One line for each client and round in which it was asked; needs pandas."""
        return frame(RunReader(self.directory).clients())

    def model(self) -> nn.Module:
        """Return the trained network in evaluation mode.

        It takes inputs scaled as in training; ``fedbal.trained.open_trained(directory).deployable()`` and
        ``fedbal export`` put the scaling in front.

        Raises
        ------
        UsageError
            The run is not finished.
        """
        from fedbal.trained import open_trained

        return open_trained(self.directory).network


def run(
    scenario: Scenario,
    out: Path | None = None,
    *,
    observer: Observer | None = None,
    after_round: AfterRound | None = None,
) -> RunResult:
    """Simulate a scenario.

    Parameters
    ----------
    scenario : Scenario
        What to run.
    out : Path, optional
        A new or empty directory; default ``runs/<name>-<time>``.
    observer : Observer, optional
        Is told of every round.
    after_round : callable, optional
        Is given every round and its global model.

    Raises
    ------
    UsageError
        The scenario cannot be run as it stands: data missing, cohort too large, resources short.
    RunError
        Something failed on the way.
    Interrupted
        On Ctrl-C or SIGTERM, after a checkpoint.
    """
    return _execute(scenario, out, None, observer or Silent(), after_round=after_round)


def resume(directory: Path, *, observer: Observer | None = None) -> RunResult:
    """Go on with a run that was stopped or killed; its bytes are those of an undisturbed run.

    Parameters
    ----------
    directory : Path
        Its run directory.
    observer : Observer, optional
        Is told of every round.
    """
    reader = RunReader(directory)
    summary = reader.summary()
    if summary is not None:
        (observer or Silent()).note(f"{directory} is complete; there is nothing to resume.")
        return RunResult(directory, summary)
    if (directory / SITES).exists():
        raise UsageError(
            f"{directory} is a run on real devices; go on with the `fedbal server` command that began it and its "
            "--state."
        )
    return _execute(load(directory / SCENARIO), directory, reader.fingerprints, observer or Silent())


def run_here(
    scenario: Scenario, directory: Path, observer: Observer, federation_of: Callable[[Scenario], Federation]
) -> RunResult:
    """Begin a run or go on with one, in this process whatever ``runtime.backend`` says; the bytes are the same.

    Parameters
    ----------
    scenario : Scenario
        What to run.
    directory : Path
        New, empty, or the directory of this run.
    observer : Observer
        Is told of every round.
    federation_of : callable
        Returns the divided data of a scenario, which runs may share.
    """
    before = None
    if (directory / SCENARIO).is_file():
        scenario, before = load(directory / SCENARIO), RunReader(directory).fingerprints
    return _execute(scenario, directory, before, observer, federation_of)


def open_run(directory: Path) -> RunResult:
    """Open a run directory, finished or not."""
    reader = RunReader(directory)
    return RunResult(directory, reader.summary() or {"status": reader.status})


def _execute(
    scenario: Scenario,
    out: Path | None,
    before: dict[str, Any] | None,
    observer: Observer,
    federation_of: Callable[[Scenario], Federation] | None = None,
    after_round: AfterRound | None = None,
) -> RunResult:
    path = out or default_directory(scenario.name)
    if before is None:
        require_empty(path)
    device = choose_device(scenario.runtime)
    with Signals() as signals, quiet(), pinned(scenario.runtime.threads):
        assembly = assemble(scenario, device, None if federation_of is None else federation_of(scenario))
        if before:
            require_same(before, assembly)
        scenario = recorded(scenario, assembly.clients.engine)
        # Runs side by side have a process each.
        alone = federation_of is None
        grid = make_grid(
            choose_placement(scenario.runtime, assembly.load) if alone else HERE,
            scenario.runtime,
            assembly.clients,
            assembly.directory,
            assembly.population.nodes,
            assembly.systems.work,
            assembly.cohort,
        )
        with grid:
            directory = RunDirectory(path, resume=before is not None)
            try:
                grid.states.keep_in(path / STATES)
                resuming = before is not None
                parts = (scenario, assembly, grid, directory, signals, observer)
                summary = drive(*parts, resuming=resuming, after_round=after_round)
            finally:
                grid.states.close()
                directory.close()
    return RunResult(path, summary)
