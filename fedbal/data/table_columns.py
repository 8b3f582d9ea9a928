"""A user's table in named columns: CSV and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fedbal.data.dataset import AnyArray, FloatArray
from fedbal.data.table_npz import RawTable, position
from fedbal.errors import RunError, UsageError
from fedbal.registry import unknown_name

MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
"""Texts that stand for a missing value, in any case."""


def read_csv(path: Path) -> dict[str, AnyArray]:
    """Return the columns of a CSV file with a header, as texts; comma, semicolon or tab separated."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = max(",;\t", key=first.count)
            lines = csv.reader(file, delimiter=separator, strict=True)
            header = [name.strip() for name in next(lines, [])]
            rows = []
            for row in lines:
                if row and len(row) != len(header):
                    raise UsageError(
                        f"{path}, line {lines.line_num}: {len(row)} values under {len(header)} column names."
                    )
                if row:
                    rows.append(row)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from error
    except csv.Error as error:
        raise UsageError(f"{path} is no valid CSV: {error}.") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error}.") from error
    if not header or not all(header) or len(set(header)) < len(header):
        raise UsageError(
            f"{path}: the first line must name every column once; it is {first.strip()[:200]!r}."
        )
    texts = zip(*rows, strict=True) if rows else ((),) * len(header)
    return {name: np.array(column, dtype=np.str_) for name, column in zip(header, texts, strict=True)}


def read_parquet(path: Path) -> dict[str, AnyArray]:
    """Return the columns of a Parquet file: numbers as they are, everything else as text."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError(
            f"reading {path.name} needs pyarrow: pip install 'fedbal[data]', or save the table as CSV or NPZ."
        ) from error
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{path} is no Parquet file or is damaged: {error}.") from error
    return {name: _plain(table.column(name).to_numpy()) for name in table.column_names}


def from_columns(
    columns: Mapping[str, AnyArray],
    path: Path,
    label: str,
    features: Sequence[str] | None,
    client_column: str | None,
) -> RawTable:
    """Divide named columns into features, label and the rest.

    Raises
    ------
    UsageError
        A named column does not exist, or a feature is not numeric.
    """
    for name, role in ((label, "label column"), (client_column, "column")):
        if name is not None and name not in columns:
            raise UsageError(f"{path}: {unknown_name(role, name, columns)}")
    chosen = (
        [name for name in columns if name not in (label, client_column)] if features is None else features
    )
    if not chosen:
        raise UsageError(f"{path}: no feature column beside {label!r}.")
    for name in chosen:
        position(name, list(columns), path)
    numeric = {name: numbers(columns[name]) for name in chosen}
    texts = [name for name, values in numeric.items() if values is None]
    if texts:
        raise UsageError(
            f"{path}: columns {', '.join(map(repr, texts))} are not numeric; encode them as numbers, or list "
            "the columns to learn from under data.features."
        )
    x = np.stack([values for values in numeric.values() if values is not None], axis=1)
    rest = {name: values for name, values in columns.items() if name not in chosen and name != label}
    if client_column is not None:
        rest[client_column] = columns[client_column]
    return RawTable(x, columns[label], tuple(chosen), columns={name: _key(rest[name]) for name in rest})


def numbers(column: AnyArray) -> FloatArray | None:
    """Return a column as float64 with NaN for what is missing, or None if it is not numeric."""
    if column.dtype.kind in "biuf":
        return column.astype(np.float64)
    blank = np.isin(np.char.lower(np.char.strip(column)), MISSING)
    try:
        return np.where(blank, "nan", column).astype(np.float64)
    except ValueError:
        return None


def _key(column: AnyArray) -> AnyArray:
    """Return whole numbers as int64, so that client 10 comes after client 9; everything else as it is."""
    if column.dtype.kind != "U":
        return column
    stripped = np.char.strip(column)
    canonical = np.char.isdigit(stripped).all() if len(stripped) else False
    if not canonical or np.any((np.char.startswith(stripped, "0")) & (np.char.str_len(stripped) > 1)):
        return stripped
    return stripped.astype(np.int64)


def _plain(column: AnyArray) -> AnyArray:
    if column.dtype.kind in "biuf":
        return column
    if column.dtype.kind == "O":
        return np.array(["" if value is None else str(value) for value in column], dtype=np.str_)
    return column.astype(np.str_)
