"""Rounds, bytes or seconds until a target is reached, with the runs that never reach it.

The mean over the runs that did would reward a method whose slow runs fail. Instead every run counts with the
smaller of its time and the horizon (restricted mean time: P. Royston and M. K. B. Parmar, "Restricted mean survival
time", BMC Medical Research Methodology 13, 2013). All runs are followed to the horizon, so nothing is censored
before it and the plain mean is the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedbal.comparison.statistics.paired import CONFIDENCE


@dataclass(frozen=True)
class ToTarget:
    """How soon and how often runs reach a target.

    Attributes
    ----------
    runs, reached : int
        Runs, and those that reached it within the horizon.
    share : float
        Reached over runs.
    share_low, share_high : float
        Its exact interval at 95 % (Clopper and Pearson).
    mean : float
        Mean of the smaller of time and horizon, in the unit of the times.
    low, high : float or None
        Student's t interval of ``mean`` at 95 %, kept within 0 and the horizon; None for one run.
    horizon : float
        Where runs ended.
    """

    runs: int
    reached: int
    share: float
    share_low: float
    share_high: float
    mean: float
    low: float | None
    high: float | None
    horizon: float


def to_target(times: Sequence[float | None], reached: Sequence[bool], horizon: float) -> ToTarget:
    """Summarise the times to a target.

    Parameters
    ----------
    times : sequence of float or None
        Rounds, bytes or seconds of each run when it first reached the target, >= 0; anything if it did not.
    reached : sequence of bool
        Whether it did.
    horizon : float
        Budget of every run, > 0; a run that reached it later did not.

    Raises
    ------
    ValueError
        There is no run, a time is no number >= 0, or the horizon is not positive.
    """
    from scipy.stats import binomtest, t

    if not len(times) or len(times) != len(reached):
        raise ValueError(
            f"{len(times)} times and {len(reached)} marks; give at least one run, and both of each"
        )
    if not (math.isfinite(horizon) and horizon > 0.0):
        raise ValueError(f"horizon is {horizon}; it must be a number > 0")
    spent = []
    for time, there in zip(times, reached, strict=True):
        if there and (time is None or not math.isfinite(time) or time < 0.0):
            raise ValueError(f"a run reached the target at {time}; that must be a number >= 0")
        spent.append(float(time) if there and time is not None else math.inf)
    every = np.array(spent)
    n, count = len(every), int((every <= horizon).sum())
    restricted = np.minimum(every, horizon)
    share = binomtest(count, n).proportion_ci(CONFIDENCE, method="exact")
    mean = float(restricted.mean())
    low = high = None
    if n > 1:
        half = float(t.ppf((1.0 + CONFIDENCE) / 2.0, n - 1) * restricted.std(ddof=1) / math.sqrt(n))
        low, high = max(0.0, mean - half), min(horizon, mean + half)
    return ToTarget(n, count, count / n, float(share.low), float(share.high), mean, low, high, float(horizon))
