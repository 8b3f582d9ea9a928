"""Which rounds of a run count: those within the budget, and of them the last share."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from fedbal.comparison.history import Floats, History, Ints, Series

UNITS = ("rounds", "bytes", "client_seconds")
"""What a budget can be given in."""


def last_round(run: History, budget: tuple[str, float] | None) -> int:
    """Return the last round that a run ends within a budget, 0 if not even the first one does.

    Parameters
    ----------
    run : History
        The run.
    budget : tuple of str and float, optional
        Unit and amount; None: all rounds.

    Raises
    ------
    ValueError
        The unit is unknown.
    """
    if budget is None:
        return run.rounds
    unit, amount = budget
    if unit not in UNITS:
        raise ValueError(f"a budget is in {', '.join(UNITS)}, got {unit!r}")
    return int(np.flatnonzero(run.spent[unit] <= amount).max(initial=0))


def first_round(last: int, share: float) -> int:
    """Return the first round of the window, the last ``ceil(share * last)`` rounds up to ``last``."""
    # Products such as .1 * 30 lie a little above the whole number that is meant.
    return last - max(1, math.ceil(share * last - 1e-9)) + 1


def mean(series: Series | None, last: int, share: float) -> float | None:
    """Return the mean of a metric over the window.

    Parameters
    ----------
    series : Series, optional
        The metric; None if a run has none.
    last : int
        Last round that counts, >= 1.
    share : float
        Share of the rounds up to it, in [0, 1]; 0: the last one that was evaluated.

    Returns
    -------
    float or None
        Over the rounds in which the metric exists; if the window has none, its value in the last one before; None
        if there is none either. The initial model (round 0) never counts.
    """
    if series is None:
        return None
    known = (series.rounds >= 1) & (series.rounds <= last) & ~np.isnan(series.values)
    if not known.any():
        return None
    inside = known & (series.rounds >= first_round(last, share))
    if share == 0.0 or not inside.any():
        return float(series.values[known][-1])
    return float(series.values[inside].mean())


def class_means(per_class: Mapping[str, tuple[Ints, Floats]], name: str, last: int, share: float) -> Floats:
    """Return the mean over the window of each class's number, shape (classes,), NaN where it does not exist."""
    rounds, values = per_class[name]
    return np.array(
        [
            math.nan if (found := mean(Series(rounds, column), last, share)) is None else found
            for column in values.T
        ]
    )
