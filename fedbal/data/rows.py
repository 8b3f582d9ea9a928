"""Rows of another file for a model that is already trained: its features, its shape, nothing held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedbal.data import categorical, table_npz
from fedbal.data.dataset import AnyArray
from fedbal.data.npz import read_arrays
from fedbal.data.table import as_rows
from fedbal.data.table_columns import numbers, read_csv, read_parquet
from fedbal.errors import UsageError
from fedbal.registry import unknown_name


@dataclass(frozen=True)
class Rows:
    """What was read.

    Attributes
    ----------
    x : numpy.ndarray
        ``(n, *input_shape)``, not scaled.
    y : numpy.ndarray, optional
        ``(n,)`` labels as they stand in the file; None if none were asked for.
    names : sequence of str
        Name of each row: its number from 0.
    """

    x: AnyArray
    y: AnyArray | None
    names: Sequence[str]


def read_rows(
    path: Path,
    features: Sequence[str],
    input_shape: tuple[int, ...],
    dtype: str,
    label: str | None,
    *,
    allow_missing: bool = False,
) -> Rows:
    """Read every row of a table, or the test rows of an NPZ file that has some.

    Parameters
    ----------
    path : Path
        ``.npz``, ``.csv`` or ``.parquet``.
    features : sequence of str
        Columns that the model reads, in its order; empty for images.
    input_shape : tuple of int
        Shape of one row.
    dtype : str
        ``uint8`` or ``float32``.
    label : str, optional
        Label column; None if labels are not needed.
    allow_missing : bool
        Whether NaN may stay in vectors, because the model replaces it.

    Raises
    ------
    UsageError
        There is no such file, a column is missing, or the rows have another shape.
    RunError
        The file is damaged.
    """
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".csv", ".parquet"):
        raise UsageError(f"{path}: give a .npz, .csv or .parquet file.")
    if not path.is_file():
        raise UsageError(f"no file {path}.")
    if suffix == ".npz":
        x, y = _from_npz(path, features, label)
    else:
        x, y = _from_columns(
            path, read_csv(path) if suffix == ".csv" else read_parquet(path), features, label
        )
    if not len(x):
        raise UsageError(f"{path} has no rows.")
    x = as_rows(x, tuple(features), f"{path}: x", allow_missing=allow_missing)
    if x.shape[1:] != input_shape or str(x.dtype) != dtype:
        raise UsageError(
            f"{path}: a row is {x.dtype} {x.shape[1:]}, the model was trained on {dtype} {input_shape}; bring the "
            "file into the form of the training data."
        )
    return Rows(x, y, [str(row) for row in range(len(x))])


def _from_columns(
    path: Path, columns: dict[str, AnyArray], features: Sequence[str], label: str | None
) -> tuple[AnyArray, AnyArray | None]:
    if not features:
        raise UsageError(
            f"{path} is a table, but the model was trained on images; give an .npz file of images."
        )
    how = categorical.plan_of_features(features, columns)
    missing = [column.name for column in how if column.name not in columns]
    if missing:
        raise UsageError(
            f"{path} lacks {len(missing)} of the {len(how)} columns that the model reads: "
            f"{', '.join(missing[:20])}; it has {', '.join(list(columns)[:20])}."
        )
    if label is not None and label not in columns:
        raise UsageError(f"{path}: {unknown_name('label column', label, columns)}")
    numeric = [column.name for column in how if column.levels is None]
    texts = [name for name in numeric if numbers(columns[name]) is None]
    if texts:
        raise UsageError(
            f"{path}: columns {', '.join(map(repr, texts))} are not numeric, as they were in training."
        )
    x = categorical.encode(columns, how, str(path))
    return x, None if label is None else columns[label]


def _from_npz(path: Path, features: Sequence[str], label: str | None) -> tuple[AnyArray, AnyArray | None]:
    arrays = read_arrays(path)
    test = "x_test" in arrays
    key = "x_test" if test else "x"
    if key not in arrays or arrays[key].ndim < 2:
        raise UsageError(
            f"{path}: an array x, or x_test, with one row a sample is needed; it has {', '.join(arrays)}."
        )
    x = arrays[key]
    if features:
        named = next((arrays[name] for name in ("columns", "feature_names") if name in arrays), None)
        names = tuple(map(str, range(x.shape[1]))) if named is None else tuple(named.tolist())
        x = x[:, [table_npz.position(name, names, path) for name in features]]
    if label is None:
        return x, None
    column = f"{label}_test" if test else label
    if column not in arrays:
        raise UsageError(f"{path}: {unknown_name('label array', column, arrays)}")
    if arrays[column].shape != x.shape[:1]:
        raise UsageError(f"{path}: {len(x)} rows in {key} but {column} has shape {arrays[column].shape}.")
    return x, arrays[column]
