"""Curves of a method over its seeds: mean and spread by round, and what was spent up to each round."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedbal.comparison.curves import curves
from fedbal.comparison.history import Floats, History, Ints, history
from fedbal.comparison.records import RunRecord

POINTS = 150
"""Points of a curve at most: more than a screen shows apart."""


@dataclass(frozen=True)
class Band:
    """A metric over rounds: mean over seeds, and one standard deviation below and above it; each (n,)."""

    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Course:
    """A method's course.

    Attributes
    ----------
    rounds : ndarray of int, (n,)
        Evaluated rounds, ascending.
    megabytes, seconds : ndarray, (n,)
        Mean over seeds of MB up and down, and of simulated client-seconds, up to the end of the round.
    values : mapping
        A band for each metric by its place; NaN where a round lacks it.
    """

    rounds: Ints
    megabytes: Floats
    seconds: Floats
    values: Mapping[str, Band]


def course(
    records: Sequence[RunRecord], places: Mapping[str, str], budget: tuple[str, float] | None = None
) -> Course | None:
    """Draw the runs of a method together.

    Parameters
    ----------
    records : sequence of RunRecord
        One a seed, of one method and data set.
    places : mapping
        Name of a metric to its place in rows of these runs.
    budget : tuple of str and float, optional
        What every run is cut to.

    Returns
    -------
    Course or None
        None if no run has any of the metrics.
    """
    found = {name: curves(records, place, budget=budget) for name, place in places.items()}
    known = {int(at) for runs in found.values() for run in runs for at in run.rounds if at >= 1}
    if not known:
        return None
    rounds = thin(np.array(sorted(known), np.int64))
    values = {}
    for name, runs in found.items():
        table = np.full((len(runs), len(rounds)), np.nan)
        for row, run in zip(table, runs, strict=True):
            _, here, there = np.intersect1d(rounds, run.rounds, return_indices=True)
            row[here] = run.y[there]
        if not np.isnan(table).all():
            values[name] = _band(table)
    histories = [history(record.directory) for record in records if record.directory is not None]
    spent = {unit: _spent(histories, unit, rounds) for unit in ("bytes", "client_seconds")}
    return Course(rounds, spent["bytes"] / 1e6, spent["client_seconds"], values)


def thin(values: Ints, most: int = POINTS) -> Ints:
    """Keep at most so many entries, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return values
    kept: Ints = values[np.unique(np.linspace(0, len(values) - 1, most).round().astype(np.int64))]
    return kept


def _band(table: Floats) -> Band:
    with warnings.catch_warnings():
        # A round that no seed evaluated, or only one did.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(table, axis=0)
        spread = np.nan_to_num(np.nanstd(table, axis=0, ddof=1)) if len(table) > 1 else np.zeros_like(mean)
    return Band(mean, mean - spread, mean + spread)


def _spent(runs: Sequence[History], unit: str, rounds: Ints) -> Floats:
    rows = np.full((len(runs), len(rounds)), np.nan)
    for row, run in zip(rows, runs, strict=True):
        there = rounds <= run.rounds
        row[there] = run.spent[unit][rounds[there]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        mean: Floats = np.nanmean(rows, axis=0)
    return mean
