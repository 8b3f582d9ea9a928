"""Correlation of two short lists of numbers: Pearson's, Spearman's with ties at their mean rank, Kendall's."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pearson(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return the linear correlation of two sequences, each of shape (n,).

    Returns
    -------
    float or None
        In [-1, 1]; None for fewer than two numbers, where one side is constant, or numbers that are not finite.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"need two sequences of one length, got shapes {x.shape} and {y.shape}")
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    # Rounding of the mean must not make a constant vary.
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return None
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return the rank correlation of two sequences; see `pearson`."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    return pearson(mean_ranks(x), mean_ranks(y))


def kendall(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return Kendall's tau-b: pairs in the same order less those in the other, ties taken off; see `pearson`."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"need two sequences of one length, got shapes {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    # Over all pairs twice, tau-b is the cosine of the signs of the differences.
    left, right = (np.sign(values[:, None] - values[None, :]).ravel() for values in (x, y))
    size = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / size) if size > 0.0 else None


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1, shape (n,); equal values share the mean of their ranks."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2.0)[where]
    return ranks
