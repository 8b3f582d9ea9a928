"""Small pools to divide, made of labels alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedbal.data.dataset import AnyArray, Dataset, IntArray
from fedbal.data.partitions.base import Pool


def dataset(labels: Sequence[int] | IntArray, classes: int, **columns: AnyArray) -> Dataset:
    y = np.asarray(labels, dtype=np.int64)
    x = np.arange(len(y), dtype=np.float32)[:, None]
    names = tuple(map(str, range(classes)))
    return Dataset("toy", x, y, x[:0], y[:0], names, columns=columns)


def pool(labels: Sequence[int] | IntArray, classes: int, seed: int = 0, **columns: AnyArray) -> Pool:
    data = dataset(labels, classes, **columns)
    return Pool(data, np.arange(len(data.y)), seed)


def balanced(classes: int, rows: int, seed: int = 0) -> Pool:
    return pool(np.tile(np.arange(classes), rows), classes, seed)


def counts(owner: IntArray, labels: IntArray, clients: int, classes: int) -> IntArray:
    return np.bincount(owner * classes + labels, minlength=clients * classes).reshape(clients, classes)
