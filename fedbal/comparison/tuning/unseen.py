"""Progress of trials without their test scores: nobody shall choose by what is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbal.comparison.plan import Cell
from fedbal.comparison.watch import Watch
from fedbal.observer import Observer, Silent

if TYPE_CHECKING:
    from fedbal.scenario import Scenario
    from fedbal.simulation import RunResult
    from fedbal.sweep import FailedRun


class Unseen(Watch):
    """Passes on what runs do, but for what they score on test rows.

    Parameters
    ----------
    watch : Watch
        Who is told.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @contextmanager
    def over(self, cells: Sequence[Cell], *, done: int) -> Iterator[None]:
        """Pass on what is watched."""
        with self._watch.over(cells, done=done):
            yield

    def of(self, cell: Cell) -> Observer:
        """Return who is told of a run."""
        return _Without(self._watch.of(cell))

    def run_ended(self, cell: Cell, result: RunResult | FailedRun) -> None:
        """Pass on an end."""
        self._watch.run_ended(cell, result)

    def say(self, text: str) -> None:
        """Pass on a line."""
        self._watch.say(text)


class _Without(Silent):
    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Pass on the start."""
        self._observer.started(scenario, directory, first_round)

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Pass on the row without its test."""
        self._observer.round_finished({**row, "test": None})

    def note(self, message: str) -> None:
        """Pass on a note."""
        self._observer.note(message)
