"""Verdicts: p values adjusted over the methods of a data set, the levels of this look, and earlier verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from fedbal.comparison.records import Look
from fedbal.comparison.statistics.notes import plain
from fedbal.comparison.statistics.paired import decide, holm
from fedbal.comparison.statistics.power import MOST_SEEDS, seeds_for
from fedbal.comparison.statistics.results import Contrast, Verdict
from fedbal.comparison.statistics.spending import Levels


def judged(
    contrasts: Sequence[Contrast],
    spend: Levels,
    family: int,
    *,
    higher: bool,
    margin: float,
    alpha: float,
    looks: Sequence[Look] = (),
) -> list[Contrast]:
    """Return the contrasts of a data set with adjusted p values and verdicts.

    Parameters
    ----------
    contrasts : sequence of Contrast
        Of the family; members without a pair are missing.
    spend : Levels
        What this look may spend.
    family : int
        Size of the family, missing members included.
    higher : bool
        Whether more is better.
    margin, alpha : float
        As declared.
    looks : sequence of Look
        The looks before; their verdicts stand.
    """
    if not contrasts:
        return []
    gone = [math.nan] * (family - len(contrasts))
    p = holm(np.array([*(_or_nan(one.p) for one in contrasts), *gone]))
    same = holm(np.array([*(_or_nan(one.p_equivalence) for one in contrasts), *gone]))
    difference = np.array([one.difference for one in contrasts])
    count = len(contrasts)
    verdicts = decide(
        difference,
        p[:count],
        same[:count],
        level=spend.difference,
        level_equivalence=spend.equivalence,
        higher=higher,
    )
    done = []
    for at, one in enumerate(contrasts):
        verdict: Verdict = verdicts[at].item()
        found = replace(
            one,
            p_adjusted=float(p[at]),
            p_equivalence_adjusted=None if one.p_equivalence is None else float(same[at]),
            verdict=verdict,
        )
        found = _as_decided(found, looks)
        if found.verdict == "undecided":
            found = _with_seeds_needed(found, margin, alpha, family)
        elif found.decided_at is None and verdict in ("better", "worse") and same[at] <= spend.equivalence:
            found = _noted(found, "The difference is real, and smaller than the margin.")
        done.append(found)
    return done


def _as_decided(contrast: Contrast, looks: Sequence[Look]) -> Contrast:
    """Let the verdict of the first look that decided stand."""
    for look in looks:
        for dataset, method, verdict in look.decided:
            if (dataset, method) == (contrast.dataset, contrast.method):
                if verdict == contrast.verdict:
                    return contrast
                now = f"with all {contrast.seeds} seeds its adjusted p is {plain(contrast.p_adjusted)}"
                note = f"Decided at the look at {look.seeds} seeds, and that stands; {now}."
                return replace(_noted(contrast, note), verdict=cast(Verdict, verdict), decided_at=look.seeds)
    return contrast


def _with_seeds_needed(contrast: Contrast, margin: float, alpha: float, family: int) -> Contrast:
    values = np.array(list(contrast.differences.values()))
    if len(values) < 2:
        return _noted(contrast, "One pair has no spread: it cannot say how many seeds would decide.")
    sd = 0.0 if contrast.d_z is None else float(values.std(ddof=1))
    needed = seeds_for(
        contrast.difference, sd, margin=margin, alpha=alpha, family=family, more_than=contrast.seeds
    )
    if needed is None:
        return _noted(contrast, f"By the spread seen so far more than {MOST_SEEDS} seeds would be needed.")
    return replace(contrast, seeds_needed=needed)


def _noted(contrast: Contrast, note: str) -> Contrast:
    return replace(contrast, notes=(*contrast.notes, note))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
