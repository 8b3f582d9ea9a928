"""One-vs-rest ranking from summed histograms: area under the ROC and the precision-recall curve.

Scores in one bin count as ties, each tied pair half, as everywhere. So the area under the ROC curve differs from
that of the unbinned scores by at most half the share of (positive, negative) pairs that fall into one bin
(:func:`auroc_error`). AUPRC is the average precision ``sum (R_k - R_{k-1}) P_k`` over the thresholds between bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedbal.scores import ScoreSums


def auroc(sums: ScoreSums) -> list[float | None]:
    """Return the area under the ROC curve of each class against the rest.

    Returns
    -------
    list of float or None, length C
        In [0, 1]; None where the set lacks positives or negatives, or scores are not finite.
    """
    positive, negative = _sides(sums)
    below = np.cumsum(negative, axis=1) - 0.5 * negative
    won = np.einsum("cb,cb->c", positive, below)
    return _per_class(sums, won / _pairs(positive, negative))


def auroc_error(sums: ScoreSums) -> list[float | None]:
    """Return how far :func:`auroc` can be from the value of unbinned scores, for each class."""
    positive, negative = _sides(sums)
    tied = 0.5 * np.einsum("cb,cb->c", positive, negative)
    return _per_class(sums, tied / _pairs(positive, negative))


def auprc(sums: ScoreSums) -> list[float | None]:
    """Return the average precision of each class against the rest, as :func:`auroc` does."""
    positive, negative = _sides(sums)
    found = np.cumsum(positive[:, ::-1], axis=1)
    called = found + np.cumsum(negative[:, ::-1], axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    area = np.einsum("cb,cb->c", positive[:, ::-1], precision)
    return _per_class(sums, area / np.maximum(positive.sum(axis=1), np.finfo(np.float64).tiny))


def _sides(sums: ScoreSums) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mass of positives and negatives a class, over the bins that hold anything."""
    used = sums.everyone.any(axis=0)
    positive, everyone = sums.positive[:, used], sums.everyone[:, used]
    # Weighted sums of both sides are rounded apart: an empty bin may come out a little below zero.
    return positive, np.maximum(everyone - positive, 0.0)


def _pairs(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
    pairs: NDArray[np.float64] = positive.sum(axis=1) * negative.sum(axis=1)
    return np.maximum(pairs, np.finfo(np.float64).tiny)


def _per_class(sums: ScoreSums, values: NDArray[np.float64]) -> list[float | None]:
    if not sums.defined:
        return [None] * len(values)
    own = sums.positive.sum(axis=1)
    both = (own > 0) & (sums.mass - own > 1e-9 * sums.mass)
    # Rounding of weighted sums must not leave the range.
    return [min(1.0, float(value)) if known else None for value, known in zip(values, both, strict=True)]
