"""Looking again after adding seeds: how much of alpha each look may spend.

K. K. G. Lan and D. L. DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70, 1983, with the
spending function like O'Brien and Fleming's: after a share s of the planned seeds, 2 - 2 Phi(z / sqrt(s)) of alpha
may be spent, z the normal quantile of 1 - alpha / 2. What a look may spend is that, less what earlier looks spent:
the errors of all looks add up to alpha at most, however they depend on each other. Boundaries by integration would
be a little wider, but hold for normal means only, not for a sign-flip test and Holm's procedure.

A sign-flip test can spend only what its few p values can reach: five seeds cannot spend .05, nor .001. What a look
could not spend is left for later ones. The tests of equivalence are continuous and spend all that a look has.

A look past the plan has what is left, often nothing. So plan the largest number of seeds you would run: looking on
the way costs little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from fedbal.comparison.records import Look
from fedbal.comparison.statistics.results import Analysis
from fedbal.comparison.statistics.sign_flip import MOST_EXACT

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Levels:
    """What a look may spend.

    Attributes
    ----------
    difference, equivalence : float
        Levels of the tests for a difference and for equivalence, each in [0, alpha]; 0: nothing can be decided.
    again : bool
        Whether an earlier look had seen as many seeds: this one sees nothing new and spends nothing.
    """

    difference: float
    equivalence: float
    again: bool = False


def spendable(share: float, alpha: float) -> float:
    """Return how much of alpha may be spent once a share of the planned seeds is there.

    Parameters
    ----------
    share : float
        Seeds over planned seeds, >= 0; above 1 counts as 1.
    alpha : float
        Family-wise error, in (0, 1).
    """
    if share >= 1.0:
        return alpha
    if share <= 0.0:
        return 0.0
    normal = NormalDist()
    return min(alpha, 2.0 * normal.cdf(normal.inv_cdf(alpha / 2.0) / math.sqrt(share)))


def attainable(level: float, seeds: int, family: int) -> float:
    """Return the most that sign-flip tests under Holm's procedure can err at a level.

    If k of the methods do not differ, the first of them is called different at level / k or not at all, and
    p is a multiple of 1 / 2^(seeds - 1): k of the largest multiple below. The worst k counts.

    Parameters
    ----------
    level : float
        Of the look, in [0, 1).
    seeds : int
        Pairs; more pairs have all multiples of fewer.
    family : int
        Methods that are compared with the baseline, >= 1.
    """
    if seeds > MOST_EXACT:
        return level
    grid = 2.0 ** (seeds - 1)
    return max(k * math.floor(level / k * grid + _ROUNDING) / grid for k in range(1, family + 1))


def levels(
    seeds: int, planned: int | None, alpha: float, looks: Sequence[Look] = (), family: int = 1
) -> Levels:
    """Return what a look may spend, given the looks before it.

    Parameters
    ----------
    seeds : int
        Different seeds that this look sees.
    planned : int, optional
        Seeds that were planned; None: these.
    alpha : float
        Family-wise error of all looks together, in (0, 1).
    looks : sequence of Look
        The looks before, oldest first.
    family : int
        Methods of a data set that are compared with the baseline.
    """
    if looks and seeds <= max(look.seeds for look in looks):
        same = max(looks, key=lambda look: look.seeds)
        return Levels(same.alpha, _equivalence(same), again=True)
    available = spendable(seeds / planned, alpha) if planned else alpha
    differing = sum(attainable(look.alpha, look.seeds, family) for look in looks)
    same_spent = sum(_equivalence(look) for look in looks)
    return Levels(max(0.0, available - differing), max(0.0, available - same_spent))


def record(analysis: Analysis, time: str) -> Look:
    """Return the look that an analysis was, to be kept beside the earlier ones.

    Parameters
    ----------
    analysis : Analysis
        What it said; a look again at the same seeds need not be kept.
    time : str
        UTC, ISO 8601.
    """
    decided = tuple(
        (contrast.dataset, contrast.method, contrast.verdict)
        for contrast in analysis.contrasts
        if contrast.verdict != "undecided"
    )
    return Look(analysis.seeds, analysis.level, time, analysis.level_equivalence, decided)


def _equivalence(look: Look) -> float:
    return look.alpha if look.alpha_equivalence is None else look.alpha_equivalence
