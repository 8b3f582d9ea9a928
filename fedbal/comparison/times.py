"""What a method needs to get to a target, in rounds, bytes or client-seconds, for the statistics of such times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbal.comparison.curves import Axis, curves
from fedbal.comparison.history import Floats, Ints, history
from fedbal.comparison.outcomes import values_of
from fedbal.comparison.records import Protocol, RunRecord
from fedbal.comparison.windows import last_round

TARGET_SHARE = 0.9
"""Of the best rule's mean: the target if none is declared."""
TIMED: tuple[Axis, ...] = ("rounds", "bytes", "client_seconds")


@dataclass(frozen=True)
class Times:
    """How soon the runs of a method reached a target.

    Attributes
    ----------
    dataset, method : str
        Whose runs.
    axis : str
        Unit of times and horizon.
    target : float
        Value of the primary outcome.
    seeds : ndarray of int, (n,)
        Runs that came to an end.
    times : ndarray, (n,)
        What was spent when the metric was first evaluated at the target or beyond it; ``horizon`` where it was not.
    reached : ndarray of bool, (n,)
        Whether that happened within the horizon.
    horizon : float
        The budget in this unit, else the smallest amount that a run of a rule on this data set spent in all: up to
        there every run was watched. A reference row that spent less is watched to its end.
    """

    dataset: str
    method: str
    axis: Axis
    target: float
    seeds: Ints
    times: Floats
    reached: NDArray[np.bool_]
    horizon: float


def default_target(protocol: Protocol, records: Sequence[RunRecord], dataset: str) -> float | None:
    """Return 90 % of the best rule's mean outcome, or where less is better that mean over 0.9.

    Reference rows do not count; None if no run has a value.
    """
    primary = protocol.primary
    rules = {method.label for method in protocol.methods if not method.reference}
    found = values_of(records, primary.name).get(dataset, {})
    means = [float(np.mean(list(seeds.values()))) for label, seeds in found.items() if label in rules]
    if not means:
        return None
    return TARGET_SHARE * max(means) if primary.higher else min(means) / TARGET_SHARE


def times_to_target(
    protocol: Protocol,
    records: Sequence[RunRecord],
    target: float | None = None,
    axes: Sequence[Axis] = TIMED,
) -> tuple[Times, ...]:
    """Return the times of every method with a common model, data set by data set and axis by axis.

    Parameters
    ----------
    protocol : Protocol
        Primary outcome, budget and order.
    records : sequence of RunRecord
        The runs; a diverged one never reached the target.
    target : float, optional
        Value of the primary outcome (default: :func:`default_target` of each data set).
    axes : sequence of str
        Units.
    """
    found = []
    for dataset in protocol.datasets:
        wanted = default_target(protocol, records, dataset) if target is None else target
        here = [
            record
            for record in records
            if record.dataset == dataset and record.status in ("finished", "diverged")
        ]
        if wanted is not None:
            for axis in axes:
                found += _of_axis(protocol, here, axis, wanted)
    return tuple(found)


def _of_axis(protocol: Protocol, here: Sequence[RunRecord], axis: Axis, target: float) -> list[Times]:
    methods = [method for method in protocol.methods if not method.tests]
    ends = {(record.method, record.seed): _end(record, axis, protocol.budget) for record in here}
    rules = {method.label for method in methods if not method.reference}
    watched = [end for (label, _), end in ends.items() if label in rules] or list(ends.values())
    if not watched:
        return []
    budget = protocol.budget
    horizon = float(budget[1]) if budget is not None and budget[0] == axis else min(watched)
    first = {
        (curve.method, curve.seed): _first(curve.x, curve.y, target, higher=protocol.primary.higher)
        for curve in curves(here, protocol.primary.name, axis, protocol.budget)
    }
    times = []
    for method in methods:
        runs = [record for record in here if record.method == method.label]
        if not runs:
            continue
        spent = np.array(
            [
                first.get((run.method, run.seed), np.inf) if run.status == "finished" else np.inf
                for run in runs
            ]
        )
        reached = spent <= horizon
        times.append(
            Times(
                dataset=runs[0].dataset,
                method=method.label,
                axis=axis,
                target=target,
                seeds=np.array([run.seed for run in runs], np.int64),
                times=np.where(reached, spent, horizon),
                reached=reached,
                horizon=horizon,
            )
        )
    return times


def _end(record: RunRecord, axis: Axis, budget: tuple[str, float] | None) -> float:
    assert record.directory is not None
    run = history(record.directory)
    return float(run.spent[axis][last_round(run, budget)])


def _first(x: Floats, y: Floats, target: float, *, higher: bool) -> float:
    there = np.flatnonzero(y >= target if higher else y <= target)
    return float(x[there[0]]) if there.size else np.inf
