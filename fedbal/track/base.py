"""What a tracker is, and the observer that keeps a broken one away from the run."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fedbal.frames import flatten
from fedbal.interrupts import Interrupted
from fedbal.observer import Observer
from fedbal.results import TRACK, to_json, write_atomically
from fedbal.track import TRACKERS

if TYPE_CHECKING:
    from fedbal.scenario import Scenario

PER_CLASS = "per_class_"
MOST_CLASSES = 20
"""Numbers of more classes are not tracked one by one."""
FINISHED, DIVERGED, INTERRUPTED, FAILED = "finished", "diverged", "interrupted", "failed"


@dataclass(frozen=True)
class TrackedRun:
    """A run as a tracker learns of it.

    Attributes
    ----------
    name : str
        Name of the scenario.
    directory : Path
        The run directory, absolute.
    first_round : int
        Round with which it begins, or goes on.
    params : mapping
        The resolved scenario by dotted key.
    yaml : str
        The same as YAML.
    place : str, optional
        What :meth:`Tracker.begin` returned when the run began; None: it begins now.
    """

    name: str
    directory: Path
    first_round: int
    params: Mapping[str, Any] = field(default_factory=dict)
    yaml: str = ""
    place: str | None = None


class Tracker(ABC):
    """Follows one run; whatever it raises ends the tracking and not the run."""

    @abstractmethod
    def begin(self, run: TrackedRun) -> str:
        """Begin, or go on where ``run.place`` says; return the place, which the run directory keeps."""

    @abstractmethod
    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Receive the numbers of a finished round by dotted name (``test.accuracy``)."""

    @abstractmethod
    def end(self, status: str, scalars: Mapping[str, float]) -> None:
        """End with ``finished``, ``diverged``, ``interrupted`` or ``failed``, and the numbers of the summary."""


class Tracked:
    """An observer that passes everything on and tells a tracker, within a ``with``.

    Parameters
    ----------
    observer : Observer
        Who watches besides.
    make : callable
        Makes the tracker.
    name : str
        Its name, for the note about a broken one.
    """

    def __init__(self, observer: Observer, make: Callable[[], Tracker], name: str) -> None:
        self._observer = observer
        self._make = make
        self._name = name
        self._tracker: Tracker | None = None
        self._began = False
        self._ended: tuple[str, dict[str, float]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, scalars = self._ended or (INTERRUPTED if isinstance(error, Interrupted) else FAILED, {})
        self._try(lambda tracker: tracker.end(status, scalars))

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Pass on, and begin."""
        self._observer.started(scenario, directory, first_round)
        try:
            self._tracker = self._make()
        except Exception as error:
            self._broken(error)
        self._try(lambda tracker: self._begin(tracker, scenario, directory, first_round))

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Log the round's numbers, and pass on."""
        # First: an observer may end the run, and a round that is in the checkpoint is not repeated.
        self._try(lambda tracker: tracker.log(int(row["round"]), scalars_of(row)))
        self._observer.round_finished(row)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Pass on, and remember the summary for the end."""
        self._observer.finished(summary)
        parts = {key: summary.get(key) for key in ("final", "best", "last_10_percent", "seconds", "bytes")}
        self._ended = (str(summary["status"]), scalars_of(parts))

    def note(self, message: str) -> None:
        """Pass on."""
        self._observer.note(message)

    def _begin(self, tracker: Tracker, scenario: Scenario, directory: Path, first_round: int) -> None:
        path, resolved = directory / TRACK, scenario.resolved()
        known = json.loads(path.read_text()) if path.exists() else {}
        run = TrackedRun(
            name=scenario.name,
            directory=directory.absolute(),
            first_round=first_round,
            params=flatten({key: value for key, value in resolved.items() if key != "track"}),
            yaml=scenario.to_yaml(),
            place=known.get(self._name),
        )
        place = tracker.begin(run)
        write_atomically(path, (to_json({**known, self._name: place}) + "\n").encode())

    def _try(self, step: Callable[[Tracker], None]) -> None:
        if self._tracker is not None:
            try:
                step(self._tracker)
            except Exception as error:
                self._broken(error)

    def _broken(self, error: Exception) -> None:
        """Say once that nothing is tracked from here on."""
        tracker, self._tracker = self._tracker, None
        text = " ".join(str(error).split()).rstrip(".")
        self._observer.note(
            f"track: {self._name} failed ({text or type(error).__name__}); the run goes on without it"
        )
        if tracker is not None:
            with suppress(Exception):
                tracker.end(FAILED, {})


class Untracked:
    """An observer as it is, within a ``with``."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __enter__(self) -> Observer:
        return self._observer

    def __exit__(self, *_: object) -> None:
        return None


def tracked(scenario: Scenario, observer: Observer) -> Tracked | Untracked:
    """Return an observer that tells the scenario's tracker too, if it names one.

    Parameters
    ----------
    scenario : Scenario
        The scenario.
    observer : Observer
        Who watches.
    """
    chosen = scenario.track
    if chosen is None:
        return Untracked(observer)
    name, arguments = chosen.name, chosen.kwargs()
    return Tracked(observer, lambda: _make(name, arguments), name)


def _make(name: str, arguments: Mapping[str, Any]) -> Tracker:
    made = TRACKERS.load(name)(**arguments)
    if not isinstance(made, Tracker):
        raise TypeError(f"{type(made).__name__} is no fedbal.track.base.Tracker")
    return made


def scalars_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row by dotted name; of lists, those of single classes."""
    found: dict[str, float] = {}
    for name, value in flatten(row).items():
        if isinstance(value, bool) or value is None or name == "round":
            continue
        if isinstance(value, int | float):
            found[name] = float(value)
        elif _of_classes(name, value):
            each = {f"{name}.{index}": one for index, one in enumerate(value)}
            found |= {key: float(one) for key, one in each.items() if isinstance(one, int | float)}
    return found


def _of_classes(name: str, value: Any) -> bool:
    return (
        isinstance(value, list)
        and name.rpartition(".")[2].startswith(PER_CLASS)
        and len(value) <= MOST_CLASSES
    )


def texts_of(params: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return parameters as single values; lists as JSON."""
    return {
        name: value if isinstance(value, str | int | float | bool) else json.dumps(value)
        for name, value in params.items()
    }


def missing(package: str) -> RuntimeError:
    """Return what to raise where a tracker is not installed."""
    return RuntimeError(f"{package} is not installed: pip install 'fedbal[track]'")


def quiet(name: str) -> None:
    """Keep a tracker's own log out of the terminal, warnings excepted."""
    logging.getLogger(name).setLevel(logging.WARNING)
