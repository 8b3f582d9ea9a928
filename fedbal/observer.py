"""Who watches a run: the terminal, a notebook, a test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fedbal.scenario import Scenario


class Observer(Protocol):
    """Receives what happens, in order."""

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Say that the run begins with ``first_round`` (more than 1 after a resume)."""
        ...

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Receive the row of a finished round, as in ``rounds.jsonl``."""
        ...

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Receive the summary."""
        ...

    def note(self, message: str) -> None:
        """Receive a warning or hint in one sentence."""
        ...


class Silent:
    """An observer that says nothing."""

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Ignore the start."""

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Ignore the row."""

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Ignore the summary."""

    def note(self, message: str) -> None:
        """Ignore the note."""
