"""How small a difference so many seeds can show, and how many seeds a difference needs.

By the noncentral t distribution: D. B. Owen, "The power of Student's t-test", Journal of the American Statistical
Association 60, 1965; of two one-sided tests: K. F. Phillips, "Power of the two one-sided tests procedure in
bioequivalence", Journal of Pharmacokinetics and Biopharmaceutics 18, 1990.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fedbal.comparison.statistics.sign_flip import DRAWS, MOST_EXACT

POWER = 0.8
MOST_SEEDS = 1000
"""Seeds beyond which a number of seeds is no advice."""
_POINTS = 400


def smallest_p(n: int, family: int = 1) -> float:
    """Return the smallest adjusted p value that a sign-flip test can reach.

    2 / 2^n by all flips, 1 / 100,000 by drawn ones beyond 20 pairs, times the size of the family as Holm asks of
    the smallest; at most 1.

    Parameters
    ----------
    n : int
        Pairs; 0 gives 1.
    family : int
        Methods that are compared with the baseline, >= 1.
    """
    if n < 1:
        return 1.0
    return min(1.0, family * (2.0 ** -(n - 1) if n <= MOST_EXACT else 1.0 / (1 + DRAWS)))


def least_seeds(alpha: float, family: int = 1) -> int:
    """Return the fewest pairs with which a sign-flip test can reach a level.

    Parameters
    ----------
    alpha : float
        Level, in (0, 1), of the whole family.
    family : int
        Methods that are compared with the baseline.
    """
    return next((n for n in range(1, MOST_EXACT + 2) if smallest_p(n, family) <= alpha), MOST_SEEDS + 1)


def power_of_difference(difference: float, sd: float, n: int, alpha: float) -> float:
    """Return the chance that a two-sided paired t test shows a true difference.

    Parameters
    ----------
    difference, sd : float
        True mean of the differences and their standard deviation, > 0, in one unit.
    n : int
        Pairs, >= 2.
    alpha : float
        Level of the test.
    """
    from scipy.stats import nct, t

    shift = abs(difference) * math.sqrt(n) / sd
    border = t.ppf(1.0 - alpha / 2.0, n - 1)
    # Far from 0 SciPy's series may end in NaN; by then the test cannot miss.
    if shift - border > 30.0:
        return 1.0
    return float(nct.sf(border, n - 1, shift) + np.nan_to_num(nct.cdf(-border, n - 1, shift)))


def power_of_equivalence(difference: float, sd: float, margin: float, n: int, alpha: float) -> float:
    """Return the chance that two one-sided t tests find a true difference within the margin.

    The mean lies normally about the difference whatever the spread that is seen: the chance, given the spread, is
    averaged over the spread's distribution (chi-squared, n - 1 degrees of freedom).

    Parameters
    ----------
    difference, sd : float
        True mean of the differences and their standard deviation, > 0.
    margin : float
        Of equivalence, >= 0.
    n : int
        Pairs, >= 2.
    alpha : float
        Level of each test.
    """
    from scipy.stats import chi2, norm, t

    places = (np.arange(_POINTS) + 0.5) / _POINTS
    spread = np.sqrt(chi2.ppf(places, n - 1) / (n - 1))
    border = t.ppf(1.0 - alpha, n - 1) * spread
    scale = math.sqrt(n) / sd
    upper, lower = (margin - difference) * scale - border, -(margin + difference) * scale + border
    return float(np.maximum(norm.cdf(upper) - norm.cdf(lower), 0.0).mean())


def smallest_detectable(
    n: int, sd: float = 1.0, alpha: float = 0.05, power: float = POWER, *, family: int = 1
) -> float | None:
    """Return the smallest true difference that so many seeds show with the given power.

    Parameters
    ----------
    n : int
        Seeds.
    sd : float
        Standard deviation of the differences, > 0; 1 while it is not known: the answer is then in units of it.
    alpha : float
        Family-wise level.
    power : float
        Chance to show it, in (alpha, 1).
    family : int
        Methods compared with the baseline: each is tested at alpha / family, what Holm asks of the first.

    Returns
    -------
    float or None
        In the unit of ``sd``; None if a sign-flip test with so few seeds cannot reach the level at all.
    """
    from scipy.optimize import brentq

    if n < 2 or smallest_p(n, family) > alpha:
        return None
    level = alpha / family
    found = brentq(lambda effect: power_of_difference(effect, 1.0, n, level) - power, 1e-9, 1e3, xtol=1e-6)
    return float(found) * sd


def seeds_for(
    difference: float,
    sd: float,
    *,
    margin: float = 0.0,
    alpha: float = 0.05,
    power: float = POWER,
    family: int = 1,
    more_than: int = 1,
) -> int | None:
    """Return the seeds that would decide if the differences went on as given.

    The fewest with which a t test shows the difference or, within a margin, two one-sided tests show equivalence,
    whichever is earlier, with the given power; and no fewer than a sign-flip test needs to reach the level (for
    equivalence none).

    Parameters
    ----------
    difference, sd : float
        Mean difference and standard deviation, >= 0.
    margin : float
        Of equivalence.
    alpha, power, family
        As for :func:`smallest_detectable`.
    more_than : int
        Seeds that have not decided.

    Returns
    -------
    int or None
        None past :data:`MOST_SEEDS`.
    """
    level, first = alpha / family, max(2, more_than + 1)
    least = max(first, least_seeds(alpha, family))
    if sd <= 0.0:
        # Without spread two one-sided sign-flip tests find equivalence: 2^-n.
        if abs(difference) < margin:
            return max(first, math.ceil(-math.log2(level)))
        return least if difference else None
    found = [_first(lambda n: power_of_difference(difference, sd, n, level), least, power)]
    if abs(difference) < margin:
        found.append(_first(lambda n: power_of_equivalence(difference, sd, margin, n, level), first, power))
    return min((n for n in found if n is not None), default=None)


def _first(chance: Callable[[int], float], start: int, power: float) -> int | None:
    """Return the first n from start on with that power; it grows with n."""
    if start > MOST_SEEDS or chance(MOST_SEEDS) < power:
        return None
    low, high = start, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        if chance(middle) >= power:
            high = middle
        else:
            low = middle + 1
    return low
