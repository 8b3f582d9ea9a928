"""What pairs of values say: many comparisons at once, so that simulations use the code that verdicts use.

Student, "The probable error of a mean", Biometrika 6, 1908. D. J. Schuirmann, "A comparison of the two one-sided
tests procedure and the power approach", Journal of Pharmacokinetics and Biopharmaceutics 15, 1987. D. S. Kerby,
"The simple difference formula", Comprehensive Psychology 3, 2014. S. Holm, "A simple sequentially rejective
multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbal.comparison.statistics.sign_flip import Floats, sign_flip, signed_ranks

CONFIDENCE = 0.95
"""Of every interval."""
SAME = 1e-12
"""A spread this small beside the values is rounding."""


@dataclass(frozen=True)
class Paired:
    """Summaries of comparisons, each an array (...); NaN where a number does not exist.

    Attributes
    ----------
    n : int
        Pairs of each.
    difference, sd : ndarray
        Mean difference and standard deviation of the differences, with n - 1; exactly 0 if they only differ by
        rounding.
    low, high : ndarray
        Student's t interval of the mean at 95 %.
    p : ndarray
        Sign-flip test.
    p_t : ndarray
        Paired t test; NaN without spread.
    p_equivalence : ndarray
        Larger p of the two one-sided t tests. Without spread there is no t: 2^-n, which is that of two one-sided
        sign-flip tests, if the difference lies within the margin, else 1.
    d_z : ndarray
        Mean over standard deviation; NaN without spread.
    rank_biserial : ndarray
        (sum of ranks of positive differences minus that of negative ones) / (sum of all); 0 if all are 0.
    correlation : ndarray
        Pearson's, of the pairs; NaN for fewer than 3, or if one side does not vary.
    """

    n: int
    difference: Floats
    sd: Floats
    low: Floats
    high: Floats
    p: Floats
    p_t: Floats
    p_equivalence: Floats
    d_z: Floats
    rank_biserial: Floats
    correlation: Floats


def paired(method: Floats, baseline: Floats, margin: float) -> Paired:
    """Compare paired values.

    Parameters
    ----------
    method, baseline : ndarray, (..., n)
        Finite values of the two sides, paired along the last axis, n >= 1.
    margin : float
        Largest difference that counts as equivalent, >= 0, in the unit of the values.
    """
    from scipy.stats import t

    differences = method - baseline
    n = differences.shape[-1]
    mean = differences.mean(axis=-1)
    sd = _spread(differences, np.maximum(np.abs(method), np.abs(baseline)).max(axis=-1))
    error = sd / math.sqrt(n)
    flat = sd == 0.0
    half = t.ppf((1.0 + CONFIDENCE) / 2.0, n - 1) * error if n > 1 else np.full_like(mean, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_t = np.where(flat, np.nan, 2.0 * t.sf(np.abs(mean / error), n - 1))
        above, below = t.sf((mean + margin) / error, n - 1), t.cdf((mean - margin) / error, n - 1)
        d_z = np.where(flat, np.nan, mean / sd)
    certain = np.where(np.abs(mean) < margin, 0.5**n, 1.0)
    ranks = signed_ranks(differences)
    return Paired(
        n=n,
        difference=mean,
        sd=sd,
        low=mean - half,
        high=mean + half,
        p=sign_flip(differences),
        p_t=p_t,
        p_equivalence=np.where(flat, certain, np.maximum(above, below)),
        d_z=d_z,
        rank_biserial=ranks.sum(axis=-1) / np.maximum(np.abs(ranks).sum(axis=-1), 1.0),
        correlation=_correlation(method, baseline),
    )


def holm(p: Floats) -> Floats:
    """Adjust p values for their number by Holm's procedure.

    Parameters
    ----------
    p : ndarray, (..., m)
        Of the m tests of each family. NaN, a test that could not be made, keeps its place: it counts as 1.
    """
    # statsmodels' multipletests takes one family at a time and collects garbage in each call.
    known = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(known, axis=-1)
    tests_left = np.arange(p.shape[-1], 0, -1)
    raised = np.maximum.accumulate(np.take_along_axis(known, order, axis=-1) * tests_left, axis=-1)
    adjusted = np.empty_like(known)
    np.put_along_axis(adjusted, order, np.minimum(raised, 1.0), axis=-1)
    return adjusted


def decide(
    difference: Floats,
    p: Floats,
    p_equivalence: Floats,
    *,
    level: float,
    level_equivalence: float,
    higher: bool = True,
) -> NDArray[np.str_]:
    """Return ``better``, ``worse``, ``equivalent`` or ``undecided`` for each comparison.

    What is both different and within the margin is called better or worse.

    Parameters
    ----------
    difference : ndarray, (...)
        Means of method minus baseline.
    p, p_equivalence : ndarray, (...)
        Adjusted p values of a difference and of equivalence.
    level, level_equivalence : float
        What they may be at most; 0: nothing is decided.
    higher : bool
        Whether more is better.
    """
    gain = difference if higher else -difference
    differs = (p <= level) & (level > 0.0)
    same = (p_equivalence <= level_equivalence) & (level_equivalence > 0.0)
    return np.select(
        [differs & (gain > 0.0), differs & (gain < 0.0), same],
        ["better", "worse", "equivalent"],
        "undecided",
    )


def _spread(differences: Floats, size: Floats) -> Floats:
    """Return the standard deviation, 0 where it is rounding beside values of that size; NaN for one pair."""
    if differences.shape[-1] < 2:
        return np.full(differences.shape[:-1], np.nan)
    sd = differences.std(axis=-1, ddof=1)
    return np.where(sd <= SAME * size, 0.0, sd)


def _correlation(first: Floats, second: Floats) -> Floats:
    if first.shape[-1] < 3:
        return np.full(first.shape[:-1], np.nan)
    a, b = (side - side.mean(axis=-1, keepdims=True) for side in (first, second))
    scales = [
        _spread(side, np.abs(side).max(axis=-1)) * math.sqrt(side.shape[-1] - 1) for side in (first, second)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (a * b).sum(axis=-1) / (scales[0] * scales[1])
    return np.clip(np.where((scales[0] == 0.0) | (scales[1] == 0.0), np.nan, found), -1.0, 1.0)
