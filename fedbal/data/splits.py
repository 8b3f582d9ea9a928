"""Stratified splits inside every client: validation, client test, and the rest to train on.

A client with n rows gives round(share * n) of them, divided over its classes by largest remainder (ties
are drawn, or the first classes would be favoured), and always keeps at least one row to train on.
"""

from __future__ import annotations

import numpy as np

from fedbal.data.dataset import IntArray
from fedbal.seeding import stream

TRAIN, VALIDATION, TEST = 0, 1, 2


def split(
    owner: IntArray,
    labels: IntArray,
    num_classes: int,
    *,
    validation: float,
    test: float,
    seed: int,
    purpose: str,
) -> IntArray:
    """Mark every row as TRAIN, VALIDATION or TEST, stratified by class within each owner.

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
    purpose : str
        Name of the streams.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` of TRAIN, VALIDATION, TEST.
    """
    part = np.full(len(owner), TRAIN, dtype=np.int64)
    if not len(owner):
        return part
    shuffled = stream(seed, purpose, "rows").permutation(len(owner))
    key = owner * num_classes + labels
    order = shuffled[np.argsort(key[shuffled], kind="stable")]
    groups, starts, sizes = np.unique(key[order], return_index=True, return_counts=True)
    client = np.unique(groups // num_classes, return_inverse=True)[1]
    rows = np.bincount(client, weights=sizes).astype(np.int64)
    wanted_test, wanted_validation = _totals(rows, test, validation)
    tested = _divide(sizes, client, rows, wanted_test, stream(seed, purpose, "test"))
    validated = _divide(
        sizes - tested, client, rows - wanted_test, wanted_validation, stream(seed, purpose, "validation")
    )
    position = np.arange(len(order)) - np.repeat(starts, sizes)
    first = np.repeat(tested, sizes)
    second = first + np.repeat(validated, sizes)
    part[order[position < second]] = VALIDATION
    part[order[position < first]] = TEST
    return part


def _totals(rows: IntArray, test: float, validation: float) -> tuple[IntArray, IntArray]:
    tested = np.rint(test * rows).astype(np.int64)
    validated = np.rint(validation * rows).astype(np.int64)
    tested = np.minimum(tested, rows - 1)
    return tested, np.minimum(validated, rows - 1 - tested)


def _divide(
    sizes: IntArray, client: IntArray, rows: IntArray, totals: IntArray, rng: np.random.Generator
) -> IntArray:
    """Divide each client's total over its groups by largest remainder, in exact integers."""
    product = totals[client] * sizes
    whole, rest = np.divmod(product, np.maximum(rows[client], 1))
    missing = totals - np.bincount(client, weights=whole, minlength=len(rows)).astype(np.int64)
    order = np.lexsort((rng.random(len(sizes)), -rest, client))
    first = np.searchsorted(client[order], np.arange(len(rows)))
    rank = np.empty(len(sizes), dtype=np.int64)
    rank[order] = np.arange(len(sizes)) - first[client[order]]
    result: IntArray = whole + (rank < missing[client])
    return result
