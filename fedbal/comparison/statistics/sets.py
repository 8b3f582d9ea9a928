"""Several data sets: pairs of methods over them, mean ranks, and a critical difference where there are enough.

J. Demšar, "Statistical comparisons of classifiers over multiple data sets", Journal of Machine Learning Research 7,
2006; A. Benavoli, G. Corani and F. Mangili, "Should we really use post-hoc tests based on mean-ranks?", Journal of
Machine Learning Research 17, 2016 (pairs by signed ranks rather than by mean ranks).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from fedbal.comparison.statistics.paired import SAME, holm
from fedbal.comparison.statistics.results import Across
from fedbal.comparison.statistics.sign_flip import Floats, sign_flip, signed_ranks

FEWEST_FOR_RANKS = 10
"""Independent data sets from which on mean ranks are tested."""


@dataclass(frozen=True)
class OverSets:
    """What several data sets say together; all empty for fewer than two.

    Attributes
    ----------
    across : tuple of Across
        Every pair of methods, in order of declaration.
    ranks : mapping
        Mean rank of each method over the data sets that have all of them, 1 is best.
    critical_difference : float or None
        Mean ranks further apart differ (Nemenyi).
    extra : mapping
        ``friedman``: statistic and p.
    notes : tuple of str
        Sentences.
    """

    across: tuple[Across, ...] = ()
    ranks: Mapping[str, float] = field(default_factory=dict)
    critical_difference: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def across_sets(
    values: Mapping[str, Mapping[str, Mapping[int, float]]],
    methods: Sequence[str],
    *,
    higher: bool = True,
    alpha: float = 0.05,
    independent: bool = False,
) -> OverSets:
    """Compare methods over data sets.

    Parameters
    ----------
    values : mapping
        The outcome by data set, method and seed.
    methods : sequence of str
        Which to compare.
    higher : bool
        Whether more is better.
    alpha : float
        Level of the critical difference.
    independent : bool
        Whether the data sets are different data.
    """
    if len(values) < 2 or len(methods) < 2:
        return OverSets()
    pairs = [_pair(values, first, second, higher) for first, second in combinations(methods, 2)]
    adjusted = holm(np.array([math.nan if pair.p is None else pair.p for pair in pairs]))
    across = tuple(
        Across(**{**vars(pair), "p_adjusted": None if pair.p is None else float(p)})
        for pair, p in zip(pairs, adjusted, strict=True)
    )
    complete = [found for found in values.values() if all(found.get(method) for method in methods)]
    notes = []
    if len(complete) < len(values):
        notes.append(
            f"Mean ranks are over the {len(complete)} of {len(values)} data sets that have every method."
        )
    if not complete:
        return OverSets(across, notes=tuple(notes))
    means = np.array([[np.mean(list(found[method].values())) for method in methods] for found in complete])
    ranks = ranks_of(means, higher=higher)
    mean_ranks = dict(zip(methods, ranks.mean(axis=0).tolist(), strict=True))
    if not independent:
        notes.append(
            "The data sets are variations of the same data, so differences of mean ranks are not tested."
        )
    elif len(complete) < FEWEST_FOR_RANKS:
        notes.append(
            f"{len(complete)} data sets are too few to test mean ranks; that needs {FEWEST_FOR_RANKS} independent "
            "ones."
        )
    if not independent or len(complete) < FEWEST_FOR_RANKS:
        return OverSets(across, mean_ranks, notes=tuple(notes))
    extra = {"friedman": friedman(means)} if len(methods) > 2 else {}
    difference = critical_difference(len(methods), len(complete), alpha)
    return OverSets(across, mean_ranks, difference, extra, tuple(notes))


def ranks_of(means: Floats, *, higher: bool = True) -> Floats:
    """Rank methods on each data set; 1 is best, equal ones share their mean rank.

    Parameters
    ----------
    means : ndarray, (data sets, methods)
        Mean outcomes.
    higher : bool
        Whether more is better.
    """
    from scipy.stats import rankdata

    ranks: Floats = rankdata(-means if higher else means, axis=1)
    return ranks


def friedman(means: Floats) -> dict[str, float]:
    """Return statistic and p of Friedman's test of equal mean ranks.

    Parameters
    ----------
    means : ndarray, (data sets, methods)
        Mean outcomes of at least 3 methods.
    """
    from scipy.stats import friedmanchisquare

    if np.all(means == means[:, :1]):
        return {"statistic": 0.0, "p": 1.0}
    found = friedmanchisquare(*means.T)
    return {"statistic": float(found.statistic), "p": float(found.pvalue)}


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference q sqrt(k (k + 1) / (6 N)) of mean ranks.

    q is the quantile 1 - alpha of the studentized range of k means with infinite degrees of freedom, over sqrt(2).

    Parameters
    ----------
    methods : int
        k, >= 2.
    datasets : int
        N, >= 1.
    alpha : float
        Family-wise level.
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1.0 - alpha, methods, np.inf)) / math.sqrt(2.0)
    return quantile * math.sqrt(methods * (methods + 1) / (6.0 * datasets))


def _pair(
    values: Mapping[str, Mapping[str, Mapping[int, float]]], first: str, second: str, higher: bool
) -> Across:
    differences = []
    for found in values.values():
        one, other = found.get(first, {}), found.get(second, {})
        common = sorted(set(one) & set(other))
        if common:
            size = max(abs(side[seed]) for side in (one, other) for seed in common)
            mean = math.fsum(one[seed] - other[seed] for seed in common) / len(common)
            differences.append(0.0 if abs(mean) <= SAME * size else mean)
    better = sum(mean > 0.0 if higher else mean < 0.0 for mean in differences)
    worse = sum(mean != 0.0 for mean in differences) - better
    p = float(sign_flip(signed_ranks(np.array(differences)))) if differences else None
    return Across(first, second, len(differences), better, worse, p, None)
