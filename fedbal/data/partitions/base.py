"""What a partition is given and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

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
    names : sequence of str
        Client keys, those without rows included.
    """

    owner: IntArray
    names: Sequence[str]


@dataclass(frozen=True)
class Numbered(Sequence[str]):
    """The keys "0", "1", ... of clients that have no name of their own; a million of them take no memory.

    Attributes
    ----------
    clients : int
        How many there are.
    """

    clients: int

    def __len__(self) -> int:
        return self.clients

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        chosen = range(self.clients)[index]
        return str(chosen) if isinstance(chosen, int) else tuple(map(str, chosen))

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name.isdecimal():
            return False
        return int(name) < self.clients and str(int(name)) == name


def numbered(clients: int) -> Numbered:
    """Return the keys of clients that have no name of their own: "0", "1", ..."""
    return Numbered(clients)


def equal(clients: int, proportions: FloatArray | None) -> FloatArray:
    """Return the proportions, or equal ones if there are none."""
    return np.full(clients, 1.0 / clients) if proportions is None else proportions
