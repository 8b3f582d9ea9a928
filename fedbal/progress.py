"""Who watches a run in a terminal: a live bar, plain lines, or nobody."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbal.cli_columns import SHORT, columns_of
from fedbal.observer import Silent
from fedbal.terminal import duration, is_terminal, number, say, warn

if TYPE_CHECKING:
    from rich.progress import Progress

    from fedbal.scenario import Scenario

SECONDS_BETWEEN_LINES = 1.0
LINES = 20
"""Plain lines that a run prints at least, if it has so many rounds."""


class Watcher(Silent):
    """An observer that is also a context: it tidies up the terminal however the run ends.

    Without a subclass it is the quiet one: warnings go to standard error, nothing else is said.
    """

    def note(self, message: str) -> None:
        """Print the warning to standard error."""
        warn(f"note: {message}")

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""


class Lines(Watcher):
    """One line a round, at most about one a second or one every 5 % of the rounds."""

    def __init__(self) -> None:
        self._rounds = 0
        self._printed = (0, 0.0)

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Say what runs where."""
        self._rounds = scenario.rounds
        self._printed = (first_round - 1, time.monotonic())
        say(headline(scenario, directory, first_round))

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Print the round if it is time for a line."""
        done, (printed, at) = int(row["round"]), self._printed
        waited = time.monotonic() - at >= SECONDS_BETWEEN_LINES
        if waited or (done - printed) * LINES >= self._rounds or done == self._rounds:
            self._printed = (done, time.monotonic())
            say(f"round {done}/{self._rounds}  {scores(row)}  {duration(row.get('seconds'))}")


class Live(Watcher):
    """A bar with rounds, time left and the latest scores."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._scores = ""

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Draw the bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        say(headline(scenario, directory, first_round))
        self._progress = Progress(
            TextColumn("round"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[scores]}", markup=False),
        )
        self._progress.add_task("", total=scenario.rounds, completed=first_round - 1, scores="")
        self._progress.start()

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Move the bar; a round without evaluation keeps the scores of the last one."""
        if row.get("test"):
            self._scores = scores(row)
        if self._progress is not None:
            task = self._progress.task_ids[0]
            self._progress.update(task, completed=int(row["round"]), scores=self._scores)

    def note(self, message: str) -> None:
        """Print the warning above the bar."""
        if self._progress is None:
            super().note(message)
        else:
            self._progress.console.print(f"note: {message}", markup=False, highlight=False)

    def close(self) -> None:
        """Stop drawing."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def watcher(*, quiet: bool) -> Watcher:
    """Return the observer that fits: quiet, live on a terminal, plain lines elsewhere."""
    if quiet:
        return Watcher()
    return Live() if is_terminal() else Lines()


def headline(scenario: Scenario, directory: Path, first_round: int) -> str:
    """Say in one line what runs where."""
    data = scenario.resolved()["data"]["dataset"]
    again = f", from round {first_round}" if first_round > 1 else ""
    return (
        f"{scenario.name}: {scenario.strategy.name} on {data}, {scenario.rounds} rounds{again} -> {directory}"
    )


def scores(row: Mapping[str, Any]) -> str:
    """Write the scores of a round."""
    test = row.get("test") or {}
    if not test:
        return "not evaluated"
    shown = (*columns_of(test, SHORT), ("loss", "loss"))
    return "  ".join(f"{word} {number(test.get(key), 3)}" for word, key in shown)
