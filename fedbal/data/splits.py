"""Stratified splits: the global hold-out, and validation and client test inside every client.

The rows of a client are lined up by class and taken at even steps from a random start (systematic sampling). So
each class gives its share of the client's total up to one row, and every row is equally likely to be taken: with
plain largest remainders, the few rows of a small client would always come from its most common classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedbal.data.dataset import IntArray
from fedbal.seeding import stream

TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class _Groups:
    """Rows grouped by client and class, in random order within a group."""

    order: IntArray
    """``(n,)`` rows, group by group."""
    sizes: IntArray
    """``(groups,)``."""
    client: IntArray
    """``(groups,)``, counted over the clients that have rows."""
    rows: IntArray
    """``(clients with rows,)``."""

    @classmethod
    def of(cls, owner: IntArray, labels: IntArray, num_classes: int, rng: np.random.Generator) -> _Groups:
        shuffled = rng.permutation(len(owner))
        key = owner * num_classes + labels
        order = shuffled[np.argsort(key[shuffled], kind="stable")]
        groups, sizes = np.unique(key, return_counts=True)
        client = np.unique(groups // num_classes, return_inverse=True)[1]
        return cls(order, sizes, client, np.bincount(client, weights=sizes).astype(np.int64))

    def chosen(self, first: IntArray, count: IntArray) -> IntArray:
        """Return ``count`` rows of each group, from position ``first`` on."""
        position = np.arange(len(self.order)) - np.repeat(np.cumsum(self.sizes) - self.sizes, self.sizes)
        start, stop = np.repeat(first, self.sizes), np.repeat(first + count, self.sizes)
        return self.order[(position >= start) & (position < stop)]


def split(
    owner: IntArray, labels: IntArray, num_classes: int, *, validation: float, test: float, seed: int
) -> IntArray:
    """Mark every client's rows as TRAIN, VALIDATION or TEST.

    A client with n rows gives round(test * n) and round(validation * n) of them, and always keeps one to train on.

    Parameters
    ----------
    owner, labels : numpy.ndarray
        ``(n,)``, the client and the class of each row.
    num_classes : int
        Classes in all.
    validation, test : float
        Shares in [0, 1), together below 1. The test rows do not depend on the validation share.
    seed : int
        Partition seed.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` of TRAIN, VALIDATION, TEST.
    """
    part = np.full(len(owner), TRAIN, dtype=np.int64)
    if not len(owner):
        return part
    groups = _Groups.of(owner, labels, num_classes, stream(seed, "client-split", "rows"))
    tests = np.minimum(np.rint(test * groups.rows).astype(np.int64), groups.rows - 1)
    validations = np.rint(validation * groups.rows).astype(np.int64)
    validations = np.minimum(validations, groups.rows - 1 - tests)
    tested = _spread(groups.sizes, groups.client, tests, stream(seed, "client-split", "test"))
    rng = stream(seed, "client-split", "validation")
    validated = _spread(groups.sizes - tested, groups.client, validations, rng)
    part[groups.chosen(np.zeros_like(tested), tested)] = TEST
    part[groups.chosen(tested, validated)] = VALIDATION
    return part


def hold_out(
    owner: IntArray, labels: IntArray, num_classes: int, *, share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Choose round(share * n) rows as global test set, from every client and class by its size.

    Parameters
    ----------
    owner, labels : numpy.ndarray
        ``(n,)``, the client (all 0 where there are no natural ones) and the class of each row.
    num_classes : int
        Classes in all.
    share : float
        In (0, 1).
    seed : int
        Partition seed.

    Returns
    -------
    numpy.ndarray
        ``(n,)``, True for test rows. A client that would lose its only row keeps it.
    """
    groups = _Groups.of(owner, labels, num_classes, stream(seed, "test", "rows"))
    rng = stream(seed, "test", "clients")
    # In random order: even steps over clients of one size would hit the same ones, or the same class, again.
    order = rng.permutation(len(groups.rows))
    totals = np.empty_like(groups.rows)
    wanted = np.array([round(share * len(owner))])
    totals[order] = _spread(groups.rows[order], np.zeros_like(order), wanted, rng)
    totals = np.minimum(totals, groups.rows - 1)
    taken = _spread(groups.sizes, groups.client, totals, stream(seed, "test", "classes"))
    mask = np.zeros(len(owner), dtype=np.bool_)
    mask[groups.chosen(np.zeros_like(taken), taken)] = True
    return mask


def _spread(sizes: IntArray, client: IntArray, totals: IntArray, rng: np.random.Generator) -> IntArray:
    """Spread each client's total over its groups at even steps from a random start, in exact integers."""
    rows = np.bincount(client, weights=sizes).astype(np.int64)
    start = rng.integers(0, rows)[client]
    before = (np.cumsum(rows) - rows)[client]
    ends = np.cumsum(sizes) - before
    total, count = totals[client], rows[client]
    result: IntArray = (ends * total + start) // count - ((ends - sizes) * total + start) // count
    return result
