"""A run's rows as arrays over rounds: read once, asked often."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbal.frames import flatten
from fedbal.results import FINGERPRINTS, ROUNDS, SCENARIO, RunReader

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ON_CLIENTS = ("fairness", "personal", "unseen")
"""Parts of a row that are about the model which clients received, that of the round before."""
PER_CLASS = ("per_class_recall", "per_class_dice")
SPENT = ("seconds", "simulated_seconds", "client_seconds")
LEFT_OUT = ("model_round", "groups", "final")


@dataclass(frozen=True)
class Series:
    """A metric over rounds.

    Attributes
    ----------
    rounds : ndarray of int, (n,)
        Round after which the measured model was made, ascending; 0 is the initial model.
    values : ndarray, (n,)
        NaN where the metric does not exist.
    """

    rounds: Ints
    values: Floats


@dataclass(frozen=True)
class History:
    """The rounds of a run.

    Attributes
    ----------
    rounds : int
        Finished rounds, T.
    series : mapping
        Every scalar by its dotted place: ``test.accuracy``, ``fairness.worst_10_percent``, ``train.loss``.
    spent : mapping
        What was spent up to the end of round t, shape (T + 1,), 0 at t = 0: ``rounds``, ``bytes`` (up and down),
        ``client_seconds``, ``seconds`` (real ones of whole rounds) and ``simulated_seconds``.
    dropped : ndarray of int, (T + 1,)
        Replies that the rule did not use up to the end of round t.
    per_class : mapping
        ``per_class_recall`` (masks: ``per_class_dice``): rounds and an array (rounds, classes), NaN for a class
        without a test sample.
    """

    rounds: int
    series: Mapping[str, Series]
    spent: Mapping[str, Floats]
    dropped: Ints
    per_class: Mapping[str, tuple[Ints, Floats]]

    def find(self, place: str) -> Series | None:
        """Return a metric by its place.

        Of a client view (``fairness``, ``personal``, ``unseen``) ``accuracy`` and the like are the pooled numbers.
        """
        if place in self.series:
            return self.series[place]
        part, _, name = place.partition(".")
        return self.series.get(f"{part}.pooled_{name}") if part in ON_CLIENTS else None


def history(directory: Path) -> History:
    """Read the rounds of a run directory; kept in memory until the file changes."""
    path = directory / ROUNDS
    state = path.stat() if path.exists() else None
    return _history(directory.absolute(), None if state is None else (state.st_size, state.st_mtime_ns))


def scenario_of(directory: Path) -> dict[str, Any]:
    """Return a run's resolved scenario; kept in memory, to be read only."""
    return _scenario(directory.absolute(), (directory / SCENARIO).stat().st_mtime_ns)


def fingerprints_of(directory: Path) -> dict[str, Any]:
    """Return a run's fingerprints; kept in memory, to be read only."""
    path = directory / FINGERPRINTS
    return _fingerprints(directory.absolute(), path.stat().st_mtime_ns if path.exists() else None)


@lru_cache(maxsize=4096)
def _scenario(directory: Path, state: int) -> dict[str, Any]:
    return RunReader(directory).scenario


@lru_cache(maxsize=4096)
def _fingerprints(directory: Path, state: int | None) -> dict[str, Any]:
    return RunReader(directory).fingerprints


@lru_cache(maxsize=1024)
def _history(directory: Path, state: tuple[int, int] | None) -> History:
    points: dict[str, dict[int, float]] = {}
    per_class: dict[str, dict[int, list[float]]] = {}
    spent: dict[str, list[float]] = {name: [0.0] for name in ("rounds", "bytes", *SPENT)}
    dropped = [0]
    for row in RunReader(directory).rounds():
        for place, at, value in _scalars(row):
            points.setdefault(place, {})[at] = value
        for name in PER_CLASS:
            if (found := (row["test"] or {}).get(name)) is not None:
                per_class.setdefault(name, {})[row["round"]] = [_number(value) for value in found]
        spent["rounds"].append(row["round"])
        spent["bytes"].append(spent["bytes"][-1] + row["bytes_up"] + row["bytes_down"])
        for name in SPENT:
            spent[name].append(spent[name][-1] + _number(row.get(name)))
        # ``dropped`` of a row also counts clients that were not asked, and those that did not reply.
        used = row["sampled"] - row["dropped"]
        dropped.append(dropped[-1] + max(0, row["replied"] - used))
    return History(
        rounds=len(dropped) - 1,
        series={
            place: Series(np.array(sorted(found), np.int64), np.array([found[at] for at in sorted(found)]))
            for place, found in points.items()
        },
        spent={name: np.array(values) for name, values in spent.items()},
        dropped=np.array(dropped, np.int64),
        per_class={
            name: (np.array(list(found), np.int64), np.array(list(found.values())))
            for name, found in per_class.items()
        },
    )


def _scalars(row: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    found = []
    for key, value in row.items():
        if not isinstance(value, Mapping):
            if key != "round" and value is not None and _is_scalar(value):
                found.append((key, row["round"], _number(value)))
            continue
        views = [value, value.get("final") or {}] if key in ON_CLIENTS else [value]
        for view in views:
            at = view.get("model_round", row["round"])
            kept = {name: part for name, part in view.items() if name not in LEFT_OUT}
            for place, number in flatten(kept, f"{key}.").items():
                if _is_scalar(number):
                    found.append((place, at, _number(number)))
    return found


def _is_scalar(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
