"""The rows of the ranked table: one a method and data set, whatever they are printed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedbal.comparison.compared import Compared
from fedbal.comparison.outcomes import BETTER, MEGABYTES
from fedbal.comparison.records import Method, RunRecord
from fedbal.comparison.statistics.results import Contrast
from fedbal.terminal import MISSING

FEW = "test.few"
CLIENT_MEAN = "fairness.mean"
PERSONAL_MEAN = "personal.mean"


@dataclass(frozen=True)
class Ranked:
    """A method on one data set.

    Attributes
    ----------
    label : str
        Of the method.
    reference, baseline : bool
        Whether it is a reference row, whether it is what others are compared with.
    rank : int or None
        1 is best, among the rules that are no reference rows; None for a reference row, or without a value.
    seeds : int
        Runs that came to an end, diverged ones included.
    mean, sd : float or None
        Of the primary outcome over these seeds, and its standard deviation.
    contrast : Contrast or None
        Against the baseline; None for the baseline, or without a pair.
    few, worst, alone : float or None
        Means of few-shot recall, of the worst tenth of the clients, and of the share of clients that are better
        off than alone, each in [0, 1].
    megabytes : float or None
        Mean bytes up and down of a run, in 10^6.
    dropped : int
        Replies that were not used, over all runs.
    diverged, failed, unfinished : tuple of int
        Seeds of runs that diverged (they count at chance level), failed, or have not ended.
    """

    label: str
    reference: bool
    baseline: bool
    rank: int | None
    seeds: int
    mean: float | None
    sd: float | None
    contrast: Contrast | None
    few: float | None
    worst: float | None
    alone: float | None
    megabytes: float | None
    dropped: int
    diverged: tuple[int, ...]
    failed: tuple[int, ...]
    unfinished: tuple[int, ...]

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``equivalent``, ``undecided``, ``baseline``, or a dash."""
        if self.contrast is not None:
            return self.contrast.verdict
        return "baseline" if self.baseline else MISSING


def ranked(compared: Compared, dataset: str) -> list[Ranked]:
    """Return the methods of a data set, best first, reference rows after the others.

    Parameters
    ----------
    compared : Compared
        The comparison.
    dataset : str
        One of its data sets.
    """
    protocol = compared.protocol
    contrasts = {
        found.method: found
        for found in (*compared.analysis.contrasts, *compared.analysis.references)
        if found.dataset == dataset
    }
    rows = [_row(compared, method, dataset, contrasts.get(method.label)) for method in protocol.methods]
    sign = -1.0 if protocol.primary.higher else 1.0
    # A method that diverged with every seed stands last, even where others are below chance.
    rows.sort(
        key=lambda row: (
            *(row.reference, row.mean is None, 0 < row.seeds == len(row.diverged)),
            sign * (row.mean or 0.0),
        )
    )
    places = iter(range(1, len(rows) + 1))
    return [row if row.reference or row.mean is None else _with_rank(row, next(places)) for row in rows]


def place_of(compared: Compared, method: Method) -> str:
    """Return where a method's primary outcome stands in a row of ``rounds.jsonl``."""
    return method.tests or compared.protocol.primary.name


def worst_of(method: Method) -> str:
    """Return where the mean of a method's worst tenth of clients stands: of common or personal models."""
    return f"{'personal' if method.tests.startswith('personal.') else 'fairness'}.worst_10_percent"


def mean_of(records: Sequence[RunRecord], name: str) -> float | None:
    """Return the mean of an outcome over the runs that have it; None if none has."""
    found = values_of(records, name)
    return float(np.mean(found)) if found else None


def values_of(records: Sequence[RunRecord], name: str) -> list[float]:
    """Return an outcome of the runs that have it."""
    return [value for record in records if (value := record.values.get(name)) is not None]


def _row(compared: Compared, method: Method, dataset: str, contrast: Contrast | None) -> Ranked:
    records = [
        record for record in compared.records if record.method == method.label and record.dataset == dataset
    ]
    ended = [record for record in records if record.status in ("finished", "diverged")]
    found = values_of(ended, place_of(compared, method))
    seeds = _seeds_by_status(records)
    return Ranked(
        label=method.label,
        reference=method.reference,
        baseline=method.label == compared.protocol.baseline,
        rank=None,
        seeds=len(ended),
        mean=float(np.mean(found)) if found else None,
        sd=float(np.std(found, ddof=1)) if len(found) > 1 else None,
        contrast=contrast,
        few=mean_of(ended, FEW),
        worst=mean_of(ended, worst_of(method)),
        alone=mean_of(ended, BETTER),
        megabytes=mean_of(ended, MEGABYTES),
        dropped=sum(record.dropped for record in records),
        diverged=seeds["diverged"],
        failed=seeds["failed"],
        unfinished=seeds["open"],
    )


def _seeds_by_status(records: Sequence[RunRecord]) -> Mapping[str, tuple[int, ...]]:
    return {
        status: tuple(record.seed for record in records if record.status == status)
        for status in ("diverged", "failed", "open")
    }


def _with_rank(row: Ranked, rank: int) -> Ranked:
    return replace(row, rank=rank)
