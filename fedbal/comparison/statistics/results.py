"""What the analysis of a comparison says; plain values that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True)
class Contrast:
    """A method against the baseline on one data set, over the seeds that both have.

    Attributes
    ----------
    dataset, method, baseline : str
        What is compared.
    seeds : int
        Pairs, n.
    mean, baseline_mean : float
        Of the primary outcome over these seeds.
    difference, low, high : float
        Mean of method minus baseline, and Student's t interval at 95 %; low and high are None for one pair.
    p : float or None
        Exact two-sided sign-flip test of the differences.
    p_adjusted : float or None
        The same after Holm over the methods of this data set.
    p_t : float or None
        Paired t test, for comparison.
    p_equivalence : float or None
        Larger p of the two one-sided t tests against the margin.
    d_z : float or None
        Mean difference over its standard deviation.
    rank_biserial : float or None
        Matched-pairs rank-biserial correlation, in [-1, 1].
    correlation : float or None
        Of the pairs' two values over seeds: what pairing gained.
    verdict : str
        ``better`` and ``worse`` need p_adjusted at most the level of this look; ``equivalent`` the same of the
        adjusted p of equivalence.
    seeds_needed : int or None
        Seeds that would decide, by the spread seen so far; only of ``undecided``.
    differences : mapping
        Method minus baseline by seed.
    notes : tuple of str
        What a reader must know of this contrast, each a sentence.
    bootstrap : tuple of two floats, or None
        Bias-corrected and accelerated bootstrap interval of the difference at 95 %; only from 20 pairs on.
    p_equivalence_adjusted : float or None
        ``p_equivalence`` after Holm over the methods of this data set.
    decided_at : int or None
        Seeds of the earlier look whose verdict stands; None: the verdict is that of this look.
    """

    dataset: str
    method: str
    baseline: str
    seeds: int
    mean: float
    baseline_mean: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    p_t: float | None
    p_equivalence: float | None
    d_z: float | None
    rank_biserial: float | None
    correlation: float | None
    verdict: Verdict
    seeds_needed: int | None = None
    differences: Mapping[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bootstrap: tuple[float, float] | None = None
    p_equivalence_adjusted: float | None = None
    decided_at: int | None = None


@dataclass(frozen=True)
class Across:
    """A pair of methods over several data sets.

    Attributes
    ----------
    first, second : str
        Methods; the difference is first minus second.
    datasets : int
        Data sets that have both.
    wins, losses : int
        Data sets on which the first one's mean is better, worse.
    p, p_adjusted : float or None
        Wilcoxon's signed-rank test, exact, over the data sets' mean differences; and after Holm over the pairs.
    """

    first: str
    second: str
    datasets: int
    wins: int
    losses: int
    p: float | None
    p_adjusted: float | None


@dataclass(frozen=True)
class Analysis:
    """All verdicts of a comparison.

    Attributes
    ----------
    baseline : str
        What every method was compared with.
    higher : bool
        Whether more of the outcome is better.
    margin, alpha : float
        As declared; ``level`` is what this look may spend of alpha on differences.
    contrasts : tuple of Contrast
        In order of data sets, then of methods as declared; reference rows are not in it, nor is a method that
        has no seed in common with the baseline (a note says so).
    references : tuple of Contrast
        The same for reference rows, outside the family: verdict by unadjusted p.
    across : tuple of Across
        Pairs over data sets; empty for fewer than two.
    ranks : mapping
        Mean rank of each method over data sets (1 is best); empty for fewer than two.
    critical_difference : float or None
        Nemenyi's, only from 10 data sets on.
    smallest_p : float or None
        Smallest adjusted p that this number of seeds and methods can reach.
    notes : tuple of str
        What a reader must know, each a sentence.
    extra : mapping
        ``friedman``: statistic and p of Friedman's test, where there is a critical difference.
    level_equivalence : float or None
        What this look may spend of alpha on equivalence; None: the same as ``level``.
    seeds : int
        Different seeds of this look.
    family : int
        Methods of each data set that are adjusted for each other.
    """

    baseline: str
    higher: bool
    margin: float
    alpha: float
    level: float
    contrasts: tuple[Contrast, ...]
    references: tuple[Contrast, ...] = ()
    across: tuple[Across, ...] = ()
    ranks: Mapping[str, float] = field(default_factory=dict)
    critical_difference: float | None = None
    smallest_p: float | None = None
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    level_equivalence: float | None = None
    seeds: int = 0
    family: int = 1
