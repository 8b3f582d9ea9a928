"""A user's table in named columns: CSV and Parquet."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from fedbal.data.dataset import AnyArray, FloatArray
from fedbal.errors import RunError, UsageError

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
    return {name: plain(table.column(name).to_numpy()) for name in table.column_names}


def numbers(column: AnyArray) -> FloatArray | None:
    """Return a column as float64 with NaN for what is missing, or None if it is not numeric."""
    if column.dtype.kind in "biuf":
        return column.astype(np.float64)
    blank = np.isin(np.char.lower(np.char.strip(column)), MISSING)
    try:
        return np.where(blank, "nan", column).astype(np.float64)
    except ValueError:
        return None


def plain(column: AnyArray) -> AnyArray:
    """Return numbers and booleans as they are, everything else as text, empty where it is missing."""
    if column.dtype.kind in "biuf":
        return column
    if column.dtype.kind == "O":
        return np.array(["" if value is None else str(value) for value in column], dtype=np.str_)
    return column.astype(np.str_)
