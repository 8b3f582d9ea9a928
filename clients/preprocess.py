"""Imputation and scaling by statistics that never need pooled data.

A client measures its own training rows. Either it prepares its rows by its own statistics (``fit: client``), or it
sends mergeable ones when asked and receives the federation's with every message (``fit: federated``): a client that
joins later gets them like any other. A feature is a column of a vector or a channel of an image.

Statistics are of observed values only: what is missing (NaN) counts nowhere, and the values that replace it do not
narrow the spread. The variance is merged from squared deviations around each client's own mean (Chan, Golub,
LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", COMPSTAT 1982): plain sums of
squares lose every digit of a feature that is far from zero. Statistics are float64, batches float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from flwr.app import RecordDict
from numpy.typing import NDArray
from torch import Tensor

from clients.data import ClientData, Split
from fedbal.protocol import PREPROCESS, Disclosure, to_arrays

Floats = NDArray[np.float64]

BINS = 1024
"""Bins between the smallest and the largest value; a federated median is off by at most half a bin."""
ROWS_AT_ONCE = 4096

DISCLOSURES = (
    Disclosure(
        name="moments",
        size="40 bytes a feature",
        frequency="once, before the first round",
        privacy="reveals, for each feature, how many values a client has, their sum, spread, smallest and largest",
    ),
    Disclosure(
        name="histogram",
        size=f"{4 * BINS} bytes a feature",
        frequency="once, before the first round, if missing values are replaced by the median",
        privacy=f"reveals each feature's values up to 1/{BINS} of the federation's range, not whose they are",
    ),
    Disclosure(
        name="transform",
        size="32 bytes a feature",
        frequency="once, before the first round, if every client prepares its rows by its own statistics",
        privacy="reveals, for each feature, how many values the client has, their centre and their spread",
    ),
)
"""What a client sends when it is asked for statistics."""


@dataclass(frozen=True)
class Moments:
    """Mergeable statistics of d features, each array (d,).

    Attributes
    ----------
    count : ndarray
        Observed values, int64.
    total, squares : ndarray
        Their sum, and the sum of squared deviations from their mean.
    lowest, highest : ndarray
        Smallest and largest value; infinite, and in this order inverted, where nothing was observed.
    """

    count: NDArray[np.int64]
    total: Floats
    squares: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Measure values (n, d); NaN is missing."""
        seen = ~np.isnan(values)
        count = seen.sum(axis=0)
        total = np.where(seen, values, 0.0).sum(axis=0)
        centred = np.where(seen, values - total / np.maximum(count, 1), 0.0)
        return cls(
            count,
            total,
            np.square(centred).sum(axis=0),
            np.where(seen, values, np.inf).min(axis=0, initial=np.inf),
            np.where(seen, values, -np.inf).max(axis=0, initial=-np.inf),
        )

    def merge(self, other: Moments) -> Moments:
        """Return the statistics of both sets of values together."""
        count = self.count + other.count
        apart = other.total / np.maximum(other.count, 1) - self.total / np.maximum(self.count, 1)
        between = np.square(apart) * (self.count * other.count / np.maximum(count, 1))
        return Moments(
            count,
            self.total + other.total,
            self.squares + other.squares + between,
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
        )

    @property
    def mean(self) -> Floats:
        """Mean, 0 where nothing was observed."""
        mean: Floats = self.total / np.maximum(self.count, 1)
        return mean

    @property
    def std(self) -> Floats:
        """Population standard deviation, exactly 0 for a constant."""
        std: Floats = np.sqrt(self.squares / np.maximum(self.count, 1))
        return np.where(self.lowest < self.highest, std, 0.0)


@dataclass(frozen=True)
class Transform:
    """``(x - shift) / scale`` after missing values became ``fill``; each array (d,) float64.

    Attributes
    ----------
    fill, shift, scale : ndarray
        Scale is positive: 1 for a constant, which therefore becomes 0.
    count : ndarray
        Observed values behind each feature.
    """

    fill: Floats
    shift: Floats
    scale: Floats
    count: NDArray[np.int64]

    def __call__(self, x: Tensor, rows: NDArray[np.int64] | None = None) -> Tensor:
        """Return the batch (b, d) or (b, channels, height, width), float32, imputed and scaled."""
        shape = (-1, *([1] * (x.ndim - 2)))
        fill, shift, scale = (
            torch.from_numpy(values).to(x.device, x.dtype).view(shape)
            for values in (self.fill, self.shift, self.scale)
        )
        return (torch.where(x.isnan(), fill, x) - shift) / scale

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what travels."""
        return {"fill": self.fill, "shift": self.shift, "scale": self.scale, "count": self.count}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read what :meth:`arrays` returned; raises ``ValueError`` for anything else."""
        names = ("fill", "shift", "scale", "count")
        if set(arrays) != set(names) or len({arrays[name].shape for name in names}) != 1:
            raise ValueError(f"expected arrays {', '.join(names)} of one shape, got {sorted(arrays)}")
        fill, shift, scale = (np.asarray(arrays[name], np.float64) for name in names[:3])
        if not (np.isfinite([fill, shift, scale]).all() and (scale > 0.0).all()):
            raise ValueError("preprocessing needs finite numbers and scales above 0")
        return cls(fill, shift, scale, np.asarray(arrays["count"], np.int64))


@dataclass(frozen=True)
class Preprocess:
    """How rows are prepared.

    Attributes
    ----------
    impute : {'none', 'median', 'mean'}
        What replaces a missing value.
    scale : {'none', 'standard', 'minmax'}
        To mean 0 and standard deviation 1, or to [0, 1] over the training values; later values may lie outside.
    fit : {'client', 'federated'}
        Whose statistics: the client's own, or those of all clients.
    features : tuple of str
        Their names, for messages; empty: numbered.
    """

    impute: Literal["none", "median", "mean"] = "none"
    scale: Literal["none", "standard", "minmax"] = "none"
    fit: Literal["client", "federated"] = "federated"
    features: tuple[str, ...] = ()

    def transform(self, moments: Moments, medians: Floats | None = None) -> Transform:
        """Return the transform that statistics lead to.

        A feature without any observed value becomes 0 throughout.
        """
        seen = moments.count > 0
        low = np.where(seen, moments.lowest, 0.0)
        span = np.where(seen, moments.highest, 0.0) - low
        constant = span == 0.0
        mean = np.where(constant, low, moments.mean)
        none, one = np.zeros_like(low), np.ones_like(low)
        shift, scale = {
            "none": (none, one),
            "standard": (mean, np.where(constant, 1.0, moments.std)),
            "minmax": (low, np.where(constant, 1.0, span)),
        }[self.scale]
        # The spread of denormal values can round to 0 though they differ.
        scale = np.where(scale > 0.0, scale, 1.0)
        fill = mean if self.impute == "mean" else none if medians is None else medians
        return Transform(np.where(seen, fill, 0.0), shift, scale, moments.count)

    def moments(self, split: Split) -> Moments:
        """Measure a split; raises ``ValueError`` for missing values that nothing replaces."""
        parts = [Moments.of(values) for values in _chunks(split)]
        merged = parts[0] if parts else Moments.of(np.empty((0, _num_features(split))))
        for part in parts[1:]:
            merged = merged.merge(part)
        sample = split.pool.x.shape[1:]
        missing = np.flatnonzero(merged.count < len(split) * math.prod(sample[1:]))
        if self.impute == "none" and missing.size:
            names = [self.features[i] if self.features else str(i) for i in missing[:20]]
            raise ValueError(
                f"values are missing in {', '.join(names)}; set data.preprocess.impute to median or mean"
            )
        return merged

    def fitted(self, split: Split) -> Transform:
        """Return the transform of a split's own statistics; the median is exact."""
        moments = self.moments(split)
        medians = None
        if self.impute == "median":
            values = np.concatenate(list(_chunks(split)) or [np.empty((0, _num_features(split)))])
            medians = np.zeros(values.shape[1])
            for feature in np.flatnonzero(moments.count).tolist():
                column = values[:, feature]
                medians[feature] = np.median(column[~np.isnan(column)])
        return self.transform(moments, medians)

    def answer(self, split: Split, what: str, asked: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Answer the query ``moments``, ``histogram`` (of ``lowest`` to ``highest``) or ``transform``."""
        if what == "moments":
            return dict(vars(self.moments(split)))
        if what == "transform":
            return self.fitted(split).arrays()
        if what == "histogram":
            return {"histogram": histogram(split, asked["lowest"], asked["highest"])}
        raise ValueError(f"unknown statistics {what!r}; known: moments, histogram, transform")


def prepared(plan: Preprocess | None, data: ClientData, content: RecordDict) -> ClientData:
    """Return a client's data with its rows prepared, batch by batch.

    Parameters
    ----------
    plan : Preprocess, optional
        None: rows stay as they are.
    data : ClientData
        What the client holds.
    content : RecordDict
        The message; it brings the statistics of the federation, which ``fit: client`` needs only where the client
        has no training rows of its own.
    """
    if plan is None:
        return data
    if plan.fit == "client" and len(data.train):
        transform = plan.fitted(data.train)
    else:
        record = content.array_records.get(PREPROCESS)
        if record is None:
            raise ValueError(f"data.preprocess is on and the message brings no {PREPROCESS!r} record")
        transform = Transform.of(to_arrays(record))
    train, validation, test = (
        replace(split, transform=transform) for split in (data.train, data.validation, data.test)
    )
    return ClientData(data.key, train, validation, test)


def histogram(split: Split, lowest: Floats, highest: Floats) -> NDArray[np.uint32]:
    """Count each feature's values (d, BINS) in equal bins from ``lowest`` to ``highest``, both (d,)."""
    counts = np.zeros((len(lowest), BINS), np.int64)
    width = np.where(highest > lowest, highest - lowest, 1.0)
    for values in _chunks(split):
        with np.errstate(invalid="ignore"):
            bins = np.clip((values - lowest) / width * BINS, 0, BINS - 1)
        for feature in range(len(lowest)):
            column = bins[:, feature]
            counts[feature] += np.bincount(column[~np.isnan(column)].astype(np.int64), minlength=BINS)
    return counts.astype(np.uint32)


def medians(counts: NDArray[np.int64], lowest: Floats, highest: Floats) -> Floats:
    """Return the median of each feature from its histogram (d, BINS), at most half a bin from the true one.

    The two middle values (one, of an odd number) are taken at the centres of their bins.
    """
    totals = counts.sum(axis=1)
    cumulated = np.cumsum(counts, axis=1)
    result = np.zeros(len(totals))
    for feature in np.flatnonzero(totals).tolist():
        middle = [(totals[feature] - 1) // 2, totals[feature] // 2]
        bins = np.searchsorted(cumulated[feature], middle, side="right")
        share = (bins.mean() + 0.5) / BINS
        result[feature] = lowest[feature] + share * (highest[feature] - lowest[feature])
    return result


def _chunks(split: Split) -> Iterator[Floats]:
    """Iterate over a split's values as (rows, features) float64, not yet prepared."""
    for x, _ in replace(split, transform=None).batches(ROWS_AT_ONCE):
        values = x.cpu().numpy().astype(np.float64)
        yield np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])


def _num_features(split: Split) -> int:
    return int(split.pool.x.shape[1])
