"""Live progress over all runs: bars on a terminal, plain lines elsewhere, nothing if asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbal.comparison.plan import Cell
from fedbal.observer import Observer, Silent
from fedbal.progress import scores
from fedbal.sweep import FailedRun
from fedbal.terminal import duration, is_terminal, say, warn

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from fedbal.scenario import Scenario
    from fedbal.simulation import RunResult

SECONDS_BETWEEN_LINES = 1.0


class Watch:
    """Watches a comparison and says nothing; the base of those who do."""

    @contextmanager
    def over(self, cells: Sequence[Cell], *, done: int) -> Iterator[None]:
        """Watch these runs, beside ``done`` ones that need not run."""
        yield

    def of(self, cell: Cell) -> Observer:
        """Return who is told of a run."""
        return Silent()

    def run_ended(self, cell: Cell, result: RunResult | FailedRun) -> None:
        """Take note that a run has come to an end, good or bad."""

    def say(self, text: str) -> None:
        """Print a line beside the progress."""


class _Observed(Silent):
    """Passes on what a run does, with the cell that it is."""

    def __init__(self, watch: Shown, cell: Cell) -> None:
        self._watch = watch
        self._cell = cell

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Pass on the start."""
        self._watch.moved(self._cell, first_round - 1, None)

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Pass on the row."""
        self._watch.moved(self._cell, int(row["round"]), row)

    def note(self, message: str) -> None:
        """Pass on the note, once for all runs."""
        self._watch.noted(self._cell, message)


class Shown(Watch):
    """What bars and lines have in common: how far every run is, and how long the rest will take."""

    def __init__(self) -> None:
        self._total = self._before = 0
        self._ended: set[str] = set()
        self._failed = 0
        self._rounds: dict[str, int] = {}
        self._all_rounds = 0
        self._started = time.monotonic()
        self._notes: set[str] = set()
        self._latest: dict[str, str] = {}

    @contextmanager
    def over(self, cells: Sequence[Cell], *, done: int) -> Iterator[None]:
        """Watch these runs, with nothing left of those that were watched before."""
        self._ended, self._rounds, self._latest, self._failed = set(), {}, {}, 0
        self._before, self._total = done, done + len(cells)
        self._all_rounds = sum(cell.scenario.rounds for cell in cells)
        self._started = time.monotonic()
        yield

    def of(self, cell: Cell) -> Observer:
        """Return who is told of a run."""
        return _Observed(self, cell)

    def moved(self, cell: Cell, done: int, row: Mapping[str, Any] | None) -> None:
        """Take note of a finished round."""
        self._rounds[cell.address] = done
        if row and row.get("test"):
            self._latest[cell.address] = scores(row)

    def run_ended(self, cell: Cell, result: RunResult | FailedRun) -> None:
        """Take note of an end; say why a run failed."""
        self._rounds[cell.address] = cell.scenario.rounds
        self._ended.add(cell.address)
        if isinstance(result, FailedRun):
            self._failed += 1
            self.say(f"failed: {cell.where}: {result.reason}")

    def noted(self, cell: Cell, message: str) -> None:
        """Say a note the first time a run of a method brings it."""
        text = f"note: {cell.method}: {message.removeprefix(f'{cell.method}: ')}"
        if text not in self._notes:
            self._notes.add(text)
            self.say(text)

    @property
    def done(self) -> int:
        """Runs that came to an end."""
        return self._before + len(self._ended)

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take if it goes on so."""
        done = sum(self._rounds.values())
        if not done:
            return None
        return (time.monotonic() - self._started) * (self._all_rounds - done) / done


class Lines(Shown):
    """A line whenever a run ends, at most about one a second."""

    def __init__(self) -> None:
        super().__init__()
        self._printed = 0.0

    def run_ended(self, cell: Cell, result: RunResult | FailedRun) -> None:
        """Print the run if it is time for a line."""
        super().run_ended(cell, result)
        now = time.monotonic()
        if isinstance(result, FailedRun) or (
            now - self._printed < SECONDS_BETWEEN_LINES and self.done < self._total
        ):
            return
        self._printed = now
        rest = "" if not self.left else f"; about {duration(self.left)} left"
        said = self._latest.get(cell.address, result.status)
        say(f"{self.done}/{self._total} runs  {cell.where}: {said}{rest}")

    def say(self, text: str) -> None:
        """Print a line to standard error."""
        warn(text)


class Bars(Shown):
    """A bar over all runs, and one for each run that is going on."""

    def __init__(self) -> None:
        super().__init__()
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._whole: TaskID | None = None

    @contextmanager
    def over(self, cells: Sequence[Cell], *, done: int) -> Iterator[None]:
        """Draw while the runs go on."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        with super().over(cells, done=done):
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[count]}", markup=False),
                TimeRemainingColumn(),
                TextColumn("{task.fields[scores]}", markup=False),
                transient=True,
            )
            with self._progress:
                self._whole = self._progress.add_task("all runs", total=self._all_rounds, count="", scores="")
                self._update()
                try:
                    yield
                finally:
                    self._progress = None

    def moved(self, cell: Cell, done: int, row: Mapping[str, Any] | None) -> None:
        """Move the bars."""
        super().moved(cell, done, row)
        if self._progress is None:
            return
        if cell.address not in self._tasks:
            self._tasks[cell.address] = self._progress.add_task(
                cell.where, total=cell.scenario.rounds, count="", scores=""
            )
        self._progress.update(
            self._tasks[cell.address],
            completed=done,
            count=f"round {done}/{cell.scenario.rounds}",
            scores=self._latest.get(cell.address, ""),
        )
        self._update()

    def run_ended(self, cell: Cell, result: RunResult | FailedRun) -> None:
        """Take the run's bar away."""
        super().run_ended(cell, result)
        task = self._tasks.pop(cell.address, None)
        if self._progress is not None and task is not None:
            self._progress.remove_task(task)
        self._update()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        if self._progress is None:
            warn(text)
        else:
            self._progress.console.print(text, markup=False, highlight=False)

    def _update(self) -> None:
        if self._progress is not None and self._whole is not None:
            failed = f", {self._failed} failed" if self._failed else ""
            self._progress.update(
                self._whole,
                completed=sum(self._rounds.values()),
                count=f"{self.done}/{self._total} runs{failed}",
            )


def watcher(*, quiet: bool) -> Watch:
    """Return the watch that fits: none, bars on a terminal, plain lines elsewhere."""
    if quiet:
        return Watch()
    return Bars() if is_terminal() else Lines()
