"""What a partition is given and what it returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedbal.data.dataset import Dataset, FloatArray, IntArray
from fedbal.seeding import stream


@dataclass(frozen=True)
class Pool:
    """The training rows to divide.

    Attributes
    ----------
    dataset : Dataset
        Where the rows come from.
    rows : numpy.ndarray
        ``(n,)`` indices into the training rows, ascending: what the long tail left.
    seed : int
        Partition seed.
    """

    dataset: Dataset
    rows: IntArray
    seed: int

    @property
    def labels(self) -> IntArray:
        """Return the class of each row, ``(n,)``."""
        return self.dataset.strata[self.rows]

    @property
    def class_counts(self) -> IntArray:
        """Return the number of rows of each class, ``(classes,)``."""
        return np.bincount(self.labels, minlength=self.dataset.num_classes)

    def rng(self, *keys: str | int) -> np.random.Generator:
        """Return the named stream of one kind of draw."""
        return stream(self.seed, "partition", *keys)


@dataclass(frozen=True)
class Assignment:
    """Which client every row of a pool goes to.

    Attributes
    ----------
    owner : numpy.ndarray
        ``(n,)`` client positions in ``[0, len(names))``.
    names : tuple of str
        Client keys, those without rows included.
    """

    owner: IntArray
    names: tuple[str, ...]


def numbered(clients: int) -> tuple[str, ...]:
    """Return the keys of clients that have no name of their own: "0", "1", ..."""
    return tuple(map(str, range(clients)))


def equal(clients: int, proportions: FloatArray | None) -> FloatArray:
    """Return the proportions, or equal ones if there are none."""
    return np.full(clients, 1.0 / clients) if proportions is None else proportions
