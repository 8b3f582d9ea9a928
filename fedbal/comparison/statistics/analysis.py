"""From the values of runs to verdicts: every method against the baseline, data set by data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fedbal.comparison.records import Look
from fedbal.comparison.statistics import require
from fedbal.comparison.statistics.contrasts import contrasts_of
from fedbal.comparison.statistics.judging import judged
from fedbal.comparison.statistics.notes import family_note, look_note
from fedbal.comparison.statistics.power import smallest_p
from fedbal.comparison.statistics.results import Analysis, Contrast
from fedbal.comparison.statistics.sets import across_sets
from fedbal.comparison.statistics.sign_flip import DRAWS, MOST_EXACT
from fedbal.comparison.statistics.spending import Levels, levels

Values = Mapping[str, Mapping[str, Mapping[int, float]]]
"""An outcome by data set, method and seed."""


def analyse(
    values: Values,
    *,
    methods: Sequence[str],
    baseline: str,
    references: Sequence[str] = (),
    higher: bool = True,
    margin: float = 0.005,
    alpha: float = 0.05,
    planned_seeds: int | None = None,
    looks: Sequence[Look] = (),
    independent: bool = False,
) -> Analysis:
    """Compare every method with the baseline on every data set.

    Parameters
    ----------
    values : mapping
        The outcome by data set, method and seed; finite. What has no value is left out.
    methods : sequence of str
        As declared, the baseline among them; those that are neither baseline nor reference make the family whose
        p values are adjusted for each other.
    baseline : str
        What all others are compared with.
    references : sequence of str
        Methods that are shown beside, outside the family.
    higher : bool
        Whether more of the outcome is better.
    margin : float
        Largest difference that counts as equivalent, >= 0, in the outcome's unit.
    alpha : float
        Family-wise error on a data set, in (0, 1).
    planned_seeds : int, optional
        Seeds that were planned; None: as many as there are.
    looks : sequence of Look
        The looks before this one; their verdicts stand.
    independent : bool
        Whether the data sets are different data, rather than variations of one: only then ranks over them
        are tested.

    Raises
    ------
    UsageError
        SciPy is not installed.
    ValueError
        The arguments do not fit together, or a value is no finite number.
    """
    require()
    _check(values, methods, baseline, references, margin, alpha)
    family = [one for one in methods if one != baseline and one not in references]
    compared = {baseline, *family}
    seeds = max(
        (len({seed for one in compared for seed in found.get(one, {})}) for found in values.values()),
        default=0,
    )
    spend = levels(seeds, planned_seeds, alpha, looks, max(1, len(family)))
    notes = [look_note(spend, seeds, planned_seeds, alpha, looks)]
    contrasts: list[Contrast] = []
    shown: list[Contrast] = []
    for dataset, found in values.items():
        own, missing = contrasts_of(dataset, found, family, baseline, margin)
        contrasts += judged(own, spend, len(family), higher=higher, margin=margin, alpha=alpha, looks=looks)
        notes += missing
        beside, missing = contrasts_of(dataset, found, references, baseline, margin)
        for one in beside:
            shown += judged([one], Levels(alpha, alpha), 1, higher=higher, margin=margin, alpha=alpha)
        notes += missing
    most = max((one.seeds for one in contrasts), default=0)
    notes.append(family_note(most, len(family), spend.difference))
    if any(one.seeds > MOST_EXACT for one in (*contrasts, *shown)):
        notes.append(
            f"With more than {MOST_EXACT} seeds the sign-flip test draws {DRAWS:,} flips instead of counting all; "
            "they are always the same."
        )
    result = Analysis(
        baseline=baseline,
        higher=higher,
        margin=margin,
        alpha=alpha,
        level=spend.difference,
        contrasts=tuple(contrasts),
        references=tuple(shown),
        smallest_p=smallest_p(most, max(1, len(family))) if family else None,
        level_equivalence=spend.equivalence,
        seeds=seeds,
        family=len(family),
    )
    over = across_sets(values, [baseline, *family], higher=higher, alpha=alpha, independent=independent)
    return replace(
        result,
        across=over.across,
        ranks=over.ranks,
        critical_difference=over.critical_difference,
        extra=over.extra,
        notes=tuple(note for note in (*notes, *over.notes) if note),
    )


def _check(
    values: Values,
    methods: Sequence[str],
    baseline: str,
    references: Sequence[str],
    margin: float,
    alpha: float,
) -> None:
    if baseline not in methods:
        raise ValueError(f"baseline {baseline!r} is none of the methods: {', '.join(methods)}")
    if len(set(methods)) < len(methods):
        raise ValueError(f"methods has a name twice: {', '.join(methods)}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}; it must be between 0 and 1")
    if not (math.isfinite(margin) and margin >= 0.0):
        raise ValueError(f"margin is {margin}; it must be a number >= 0")
    for dataset, found in values.items():
        for method in (*methods, *references):
            for seed, value in found.get(method, {}).items():
                if value is None or not math.isfinite(value):
                    where = f"seed {seed} of {method}" + (f" on {dataset}" if dataset else "")
                    raise ValueError(f"{where} is {value}; give a finite number, or leave the seed out")
