"""One contrast: a method against the baseline on one data set, in numbers; the verdict comes later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fedbal.comparison.statistics.notes import missing_note
from fedbal.comparison.statistics.paired import Paired, paired
from fedbal.comparison.statistics.results import Contrast
from fedbal.comparison.statistics.sign_flip import Floats
from fedbal.seeding import stream

FEWEST_FOR_BOOTSTRAP = 20
"""Pairs from which on there is a bootstrap interval."""


def contrasts_of(
    dataset: str,
    found: Mapping[str, Mapping[int, float]],
    methods: Sequence[str],
    baseline: str,
    margin: float,
) -> tuple[list[Contrast], list[str]]:
    """Return the contrasts of one data set, not yet judged, and notes of what is missing.

    Parameters
    ----------
    dataset : str
        Its label.
    found : mapping
        The outcome by method and seed.
    methods : sequence of str
        What to compare with the baseline; one without a common seed has no contrast.
    baseline : str
        What they are compared with.
    margin : float
        Of equivalence.
    """
    against = found.get(baseline, {})
    every = {seed for one in (*methods, baseline) for seed in found.get(one, {})}
    contrasts: list[Contrast] = []
    notes = []
    for method in methods:
        own = found.get(method, {})
        common = sorted(set(own) & set(against))
        notes.append(missing_note(dataset, method, baseline, len(common), sorted(every - set(common))))
        if common:
            first, second = (np.array([side[seed] for seed in common], np.float64) for side in (own, against))
            summary = paired(first, second, margin)
            differences = {seed: float(a - b) for seed, a, b in zip(common, first, second, strict=True)}
            contrasts.append(_contrast(dataset, method, baseline, first, second, summary, differences))
    return contrasts, notes


def _contrast(
    dataset: str,
    method: str,
    baseline: str,
    first: Floats,
    second: Floats,
    summary: Paired,
    differences: Mapping[int, float],
) -> Contrast:
    single = summary.n < 2
    flat = bool(summary.sd == 0.0)
    notes = []
    if flat:
        notes.append(
            f"The difference is the same on all {summary.n} seeds, so its interval has no width and there is no "
            "t test; equivalence is by one-sided sign-flip tests."
        )
    return Contrast(
        dataset=dataset,
        method=method,
        baseline=baseline,
        seeds=summary.n,
        mean=float(first.mean()),
        baseline_mean=float(second.mean()),
        difference=float(summary.difference),
        low=_known(summary.low),
        high=_known(summary.high),
        p=float(summary.p),
        p_adjusted=None,
        p_t=_known(summary.p_t),
        p_equivalence=None if single else _known(summary.p_equivalence),
        d_z=_known(summary.d_z),
        rank_biserial=float(summary.rank_biserial),
        correlation=_known(summary.correlation),
        verdict="undecided",
        differences=differences,
        notes=tuple(notes),
        bootstrap=None if flat else _bootstrap(first - second),
    )


def _bootstrap(differences: Floats) -> tuple[float, float] | None:
    if len(differences) < FEWEST_FOR_BOOTSTRAP:
        return None
    from scipy.stats import bootstrap

    generator = stream(0, "bootstrap", len(differences))
    found = bootstrap((differences,), np.mean, method="BCa", random_state=generator).confidence_interval
    low, high = float(found.low), float(found.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _known(value: Floats) -> float | None:
    return float(value) if np.isfinite(value) else None
