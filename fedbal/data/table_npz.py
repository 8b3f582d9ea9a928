"""A user's table in an NPZ file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedbal.data.dataset import AnyArray
from fedbal.data.npz import read_arrays
from fedbal.errors import UsageError
from fedbal.registry import unknown_name


@dataclass(frozen=True)
class RawTable:
    """A table as it was found: nothing is checked but that rows, labels and columns go together."""

    x: AnyArray
    y: AnyArray
    features: tuple[str, ...]
    """Name of each feature column; empty for images."""
    x_test: AnyArray | None = None
    y_test: AnyArray | None = None
    columns: Mapping[str, AnyArray] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    origins: tuple[str, ...] = ()
    """Column that each feature comes from, if not its own."""
    coded: bool = False
    """Whether labels are positions among the classes rather than their names."""
    test_columns: Mapping[str, AnyArray] = field(default_factory=dict)
    """Values of the test rows, of those columns that the data give for them too."""


def read_npz(
    path: Path, label: str, features: Sequence[str] | None, needed: Sequence[str | None] = ()
) -> RawTable:
    """Read arrays ``x``, the label, any column of the same length, perhaps ``x_test`` and ``<label>_test``.

    ``x_train`` and ``<label>_train`` do as well. String arrays ``columns`` (or ``feature_names``) and
    ``classes`` name features and classes. Columns ``needed`` must be there; ``<column>_test`` are the values of
    the test rows.
    """
    arrays = read_arrays(path)
    x_key = "x" if "x" in arrays or "x_train" not in arrays else "x_train"
    y_key = label if label in arrays or f"{label}_train" not in arrays else f"{label}_train"
    for key, role in ((x_key, "array"), (y_key, "label array")):
        if key not in arrays:
            raise UsageError(f"{path}: {unknown_name(role, key, arrays)}")
    x, y = arrays[x_key], arrays[y_key]
    if x.ndim < 2:
        raise UsageError(
            f"{path}: {x_key} has shape {x.shape}; one row per sample is needed, such as (n, d)."
        )
    if y.shape != x.shape[:1]:
        raise UsageError(f"{path}: {len(x)} rows in {x_key} but {y_key} has shape {y.shape}.")
    names: tuple[str, ...] = ()
    if x.ndim == 2:
        names = _names(arrays, ("columns", "feature_names"), x.shape[1])
        names = names or tuple(map(str, range(x.shape[1])))
    x_test, y_test = arrays.get("x_test"), arrays.get(f"{label}_test")
    if (x_test is None) != (y_test is None):
        raise UsageError(f"{path}: x_test and {label}_test belong together, but there is only one of them.")
    if features is not None:
        if x.ndim != 2:
            raise UsageError(
                f"{path}: data.features chooses columns, but {x_key} holds images {x.shape[1:]}."
            )
        chosen = [position(name, names, path) for name in features]
        x, names = x[:, chosen], tuple(features)
        x_test = x_test[:, chosen] if x_test is not None and x_test.ndim == 2 else x_test
    columns = {key: value for key, value in arrays.items() if value.shape == (len(x),) and key != y_key}
    for column in needed:
        if column is not None and column not in columns:
            raise UsageError(f"{path}: {_absent(column, arrays, columns, len(x))}")
    classes = _names(arrays, ("classes",), None) or None
    test_columns = {
        key: arrays[f"{key}_test"]
        for key in columns
        if x_test is not None and f"{key}_test" in arrays and arrays[f"{key}_test"].shape == x_test.shape[:1]
    }
    return RawTable(x, y, names, x_test, y_test, columns, classes, test_columns=test_columns)


def _absent(column: str, arrays: Mapping[str, AnyArray], columns: Mapping[str, AnyArray], rows: int) -> str:
    if column in arrays:
        return f"column {column!r} has shape {arrays[column].shape} for {rows} rows."
    return unknown_name("column", column, columns) if columns else f"no column {column!r}, nor any."


def position(name: str, names: Sequence[str], path: Path) -> int:
    """Return where a feature column is; an unknown one is refused with the nearest names."""
    if name not in names:
        raise UsageError(f"{path}: {unknown_name('feature column', name, names)}")
    return names.index(name)


def _names(arrays: Mapping[str, AnyArray], keys: Sequence[str], count: int | None) -> tuple[str, ...]:
    for key in keys:
        names = arrays.get(key)
        if names is not None and names.ndim == 1 and names.dtype.kind == "U" and count in (None, len(names)):
            return tuple(names.tolist())
    return ()
