"""The long tail: class sizes that fall from n_max to n_max / imbalance_factor.

Exponential (Cui et al., CVPR 2019): n_c = int(n_max * IF ** (-rank_c / (C - 1))).
Step (Buda et al., Neural Networks 2018): n_max for common classes, int(n_max / IF) for rare ones.
n_max is the largest value that every class has the rows for.
"""

from __future__ import annotations

import numpy as np

from fedbal.data.dataset import FloatArray, IntArray
from fedbal.errors import UsageError
from fedbal.seeding import stream


def long_tail(
    labels: IntArray,
    classes: tuple[str, ...],
    *,
    profile: str,
    imbalance_factor: float,
    order: str,
    rare_share: float,
    seed: int,
) -> IntArray:
    """Choose the rows that stay.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(n,)``, the class of each row.
    classes : tuple of str
        Class names.
    profile : str
        ``exponential`` or ``step``.
    imbalance_factor : float
        n_max / n_min, >= 1; 1 keeps every row, whatever imbalance the data has by itself.
    order : str
        ``index``: the last classes are rare; ``random``: drawn.
    rare_share : float
        Share of rare classes in the step profile, in (0, 1).
    seed : int
        Partition seed. A class keeps a subset of what a smaller factor leaves of it, where n_max is the same.

    Returns
    -------
    numpy.ndarray
        Row indices, ascending.

    Raises
    ------
    UsageError
        A class has no rows, or the factor leaves a class without any.
    """
    count = len(classes)
    if imbalance_factor == 1.0 or count < 2:
        return np.arange(len(labels))
    rank = np.arange(count)
    if order == "random":
        rank = stream(seed, "long-tail", "order").permutation(count)
    fractions = class_fractions(rank, profile, imbalance_factor, rare_share)
    available = np.bincount(labels, minlength=count)
    sizes = class_sizes(available, fractions)
    if sizes.min() < 1:
        raise UsageError(_refusal(available, rank, profile, imbalance_factor, rare_share, classes))
    kept = [
        stream(seed, "long-tail", "rows", label).permutation(np.flatnonzero(labels == label))[: sizes[label]]
        for label in range(count)
    ]
    return np.sort(np.concatenate(kept))


def class_fractions(rank: IntArray, profile: str, imbalance_factor: float, rare_share: float) -> FloatArray:
    """Return n_c / n_max of each class, given its rank (0 is the most common)."""
    count = len(rank)
    if profile == "exponential":
        return np.asarray(imbalance_factor ** (-rank / (count - 1)), dtype=np.float64)
    rare = min(max(round(rare_share * count), 1), count - 1)
    return np.where(rank >= count - rare, 1.0 / imbalance_factor, 1.0)


def class_sizes(available: IntArray, fractions: FloatArray) -> IntArray:
    """Return int(n_max * fraction) of each class, with the largest n_max that no class falls short of."""
    n_max = int(np.min(np.ceil((available + 1) / fractions)))
    while n_max > 0 and np.any(_sizes(n_max, fractions) > available):
        n_max -= 1
    return _sizes(n_max, fractions)


def _sizes(n_max: int, fractions: FloatArray) -> IntArray:
    # The tolerance keeps 600 * 0.1 from becoming 59 by rounding.
    return np.floor(n_max * fractions + 1e-9).astype(np.int64)


def _refusal(
    available: IntArray,
    rank: IntArray,
    profile: str,
    imbalance_factor: float,
    rare_share: float,
    classes: tuple[str, ...],
) -> str:
    if available.min() == 0:
        return (
            f"long_tail: class {classes[int(available.argmin())]!r} has no training rows, so it cannot have "
            "its place in the tail; drop the class or leave long_tail out."
        )
    largest = imbalance_factor
    while True:
        n_max = float(class_sizes(available, class_fractions(rank, profile, largest, rare_share)).max())
        if n_max >= largest:
            break
        largest = n_max
    return (
        f"long_tail: imbalance_factor {imbalance_factor:g} leaves class {classes[int(rank.argmax())]!r} "
        f"without a row; with the data at hand it can be at most {largest:.0f}."
    )
