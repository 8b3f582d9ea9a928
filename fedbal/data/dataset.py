"""A data set in memory: plain arrays, once per machine; pixels stay uint8 until the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
AnyArray = npt.NDArray[Any]


@dataclass(frozen=True)
class Scaling:
    """What turns stored values into model inputs, batch by batch: ``(x / divide - mean) / std``.

    ``mean`` and ``std`` have one entry per channel, or none: then they do nothing.
    """

    divide: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class Request:
    """What every loader is told beside its own parameters."""

    seed: int
    """Partition seed."""
    base: Path | None = None
    """Folder that relative paths start from; None is the current folder."""
    client_column: str | None = None
    """Column that names the clients, for natural clients; it is no feature."""
    group: str | None = None
    """Column whose equal values stay on one side of a split; it is no feature."""
    allow_missing: bool = False
    """Whether missing numbers of a table pass as NaN, because clients replace them."""


@dataclass(frozen=True)
class Dataset:
    """Training and test rows of one classification task.

    Attributes
    ----------
    name : str
        Name in the table of sources.
    x, x_test : numpy.ndarray
        ``(n, *input_shape)``, uint8 or float32; images are channels first.
    y, y_test : numpy.ndarray
        ``(n,)`` int64, in ``[0, num_classes)``.
    classes : tuple of str
        Class names in label order.
    scaling : Scaling
        Applied to float32 batches.
    columns : Mapping[str, numpy.ndarray]
        Further values of each training row, ``(n,)``, such as client ids.
    test_columns : Mapping[str, numpy.ndarray]
        Those that are known of the test rows; they decide nothing about who holds what.
    features : tuple of str
        Name of each value of a row that came from a table's columns; empty for images.
    source, licence : str
        Where the data comes from and on what terms.
    """

    name: str
    x: AnyArray
    y: IntArray
    x_test: AnyArray
    y_test: IntArray
    classes: tuple[str, ...]
    scaling: Scaling = Scaling()
    columns: Mapping[str, AnyArray] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    test_columns: Mapping[str, AnyArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rows, labels in ((self.x, self.y), (self.x_test, self.y_test)):
            if rows.dtype not in (np.uint8, np.float32) or labels.dtype != np.int64:
                raise ValueError(
                    f"x must be uint8 or float32 and y int64, not {rows.dtype} and {labels.dtype}."
                )
            if labels.ndim != 1 or len(rows) != len(labels) or rows.shape[1:] != self.x.shape[1:]:
                raise ValueError(f"x {rows.shape} and y {labels.shape} do not fit together.")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row: ``(channels, height, width)`` of an image, ``(d,)`` of a vector."""
        return tuple(int(size) for size in self.x.shape[1:])

    @property
    def num_classes(self) -> int:
        """Number of classes, those without a row included."""
        return len(self.classes)

    def fingerprint(self) -> str:
        """Return a SHA-256 over all values, labels, columns, class names and the scaling."""
        digest = hashlib.sha256()
        for key, array in [("x", self.x), ("y", self.y), ("x_test", self.x_test), ("y_test", self.y_test)]:
            _update(digest, key, array)
        for key in sorted(self.columns):
            _update(digest, f"column:{key}", self.columns[key])
        digest.update(repr((self.classes, self.scaling)).encode())
        return digest.hexdigest()


def _update(digest: Any, key: str, array: AnyArray) -> None:
    values = array.astype("U") if array.dtype.kind == "O" else array
    digest.update(f"{key}|{values.dtype.str}|{values.shape}|".encode())
    digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8) if values.size else b"")
