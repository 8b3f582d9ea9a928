"""A data set in memory: plain arrays, once per machine; pixels stay uint8 until the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedbal.measures.names import TaskName

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
    """Training and test rows of one task: a class a row, or a mask of classes for every image.

    Attributes
    ----------
    name : str
        Name in the table of sources.
    x, x_test : numpy.ndarray
        ``(n, *input_shape)``, uint8 or float32; images are channels first.
    y, y_test : numpy.ndarray
        Int64 in ``[0, num_classes)``: ``(n,)``, a class a row, or ``(n, height, width)``, one a pixel.
    classes : tuple of str
        Class names in label order; of masks, the background first.
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
    drawn_y : numpy.ndarray, optional
        Labels as somebody drew them, like ``y``, where they are not the truth: what clients train and validate on.
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
    drawn_y: IntArray | None = None

    def __post_init__(self) -> None:
        for rows, labels in ((self.x, self.y), (self.x_test, self.y_test)):
            if rows.dtype not in (np.uint8, np.float32) or labels.dtype != np.int64:
                raise ValueError(
                    f"x must be uint8 or float32 and y int64, not {rows.dtype} and {labels.dtype}."
                )
            fits = labels.ndim == 1 or (labels.ndim == 3 and labels.shape[1:] == rows.shape[2:])
            if not fits or len(rows) != len(labels) or rows.shape[1:] != self.x.shape[1:]:
                raise ValueError(f"x {rows.shape} and y {labels.shape} do not fit together.")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row: ``(channels, height, width)`` of an image, ``(d,)`` of a vector."""
        return tuple(int(size) for size in self.x.shape[1:])

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one row's labels: ``()`` for a class, ``(height, width)`` for a mask."""
        return tuple(int(size) for size in self.y.shape[1:])

    @property
    def task(self) -> TaskName:
        """What the labels are."""
        return "segmentation" if self.target_shape else "classification"

    @property
    def strata(self) -> IntArray:
        """What splits keep the shares of, ``(n,)``: the classes; masks are all alike."""
        return np.zeros(len(self.y), np.int64) if self.target_shape else self.y

    @property
    def num_classes(self) -> int:
        """Number of classes, those without a row included."""
        return len(self.classes)

    def fingerprint(self) -> str:
        """Return a SHA-256 over all values, labels, columns, class names and the scaling."""
        digest = hashlib.sha256()
        for key, array in [("x", self.x), ("y", self.y), ("x_test", self.x_test), ("y_test", self.y_test)]:
            _update(digest, key, array)
        if self.drawn_y is not None:
            _update(digest, "drawn_y", self.drawn_y)
        for key in sorted(self.columns):
            _update(digest, f"column:{key}", self.columns[key])
        digest.update(repr((self.classes, self.scaling)).encode())
        return digest.hexdigest()


def _update(digest: Any, key: str, array: AnyArray) -> None:
    values = array.astype("U") if array.dtype.kind == "O" else array
    digest.update(f"{key}|{values.dtype.str}|{values.shape}|".encode())
    digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8) if values.size else b"")
