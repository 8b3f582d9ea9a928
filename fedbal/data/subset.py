"""Fewer training rows in the class shares that there are, for studies that must be quick."""

from __future__ import annotations

import numpy as np

from fedbal.data.apportion import largest_remainder
from fedbal.data.dataset import IntArray
from fedbal.errors import UsageError
from fedbal.seeding import stream


def subset(labels: IntArray, size: int, seed: int) -> IntArray:
    """Choose rows at random, as many of each class as its share asks for.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(n,)``, the class of each row.
    size : int
        How many rows stay, 1 to n.
    seed : int
        Partition seed. A class keeps a subset of what a larger size leaves of it.

    Returns
    -------
    numpy.ndarray
        ``(size,)`` positions, ascending.

    Raises
    ------
    UsageError
        There are fewer rows.
    """
    if size > len(labels):
        raise UsageError(
            f"data.train_rows is {size}, and there are {len(labels)} training rows (after data.long_tail, if "
            "any); lower it or leave it out."
        )
    sizes = largest_remainder(np.bincount(labels), size)
    kept = [
        stream(seed, "train-rows", label).permutation(np.flatnonzero(labels == label))[:count]
        for label, count in enumerate(sizes.tolist())
    ]
    return np.sort(np.concatenate(kept))
