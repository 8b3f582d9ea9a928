"""What of a table is feature, what is label and what only says where a row belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedbal.data import categorical
from fedbal.data.categorical import Categories
from fedbal.data.dataset import AnyArray, Request
from fedbal.data.table_npz import RawTable, position
from fedbal.errors import UsageError
from fedbal.registry import unknown_name

Columns = Mapping[str, AnyArray]


@dataclass(frozen=True)
class Wishes:
    """Which columns to learn from, and how.

    Attributes
    ----------
    features : sequence of str, optional
        Columns to learn from; None: all but label, client and group column.
    categorical : sequence of str or Mapping, optional
        Columns that are categories whatever they hold, perhaps with their levels.
    drop : sequence of str
        Columns to leave out of the features.
    """

    features: Sequence[str] | None = None
    categorical: Categories | None = None
    drop: Sequence[str] = ()


def from_columns(
    columns: Columns, path: Path, label: str, request: Request, wishes: Wishes, test: Columns | None = None
) -> RawTable:
    """Divide named columns into features, label and the rest.

    Parameters
    ----------
    columns : Mapping
        Name to ``(n,)`` values of the training rows.
    path : Path
        File, for messages.
    label : str
        Label column.
    request : Request
        Its client and group column are no features unless they are listed.
    wishes : Wishes
        Which columns to learn from, and how.
    test : Mapping, optional
        The same columns of the test rows, if the data bring some.

    Raises
    ------
    UsageError
        A named column does not exist, or cannot be a feature.
    """
    others = (request.client_column, request.group)
    for name, role in ((label, "label column"), *((name, "column") for name in others)):
        if name is not None and name not in columns:
            raise UsageError(f"{path}: {unknown_name(role, name, columns)}")
    chosen = _chosen(list(columns), path, label, others, wishes)
    how = categorical.plan(
        columns, chosen, wishes.categorical, str(path), allow_missing=request.allow_missing
    )
    names, origins = categorical.features(how)
    rest = [name for name in columns if name != label and (name not in chosen or name in others)]
    table = RawTable(
        categorical.encode(columns, how, str(path)),
        columns[label],
        names,
        columns={name: _key(columns[name]) for name in rest},
        origins=origins,
    )
    if test is None:
        return table
    for name in (*chosen, label, *(name for name in others if name is not None)):
        if name not in test:
            raise UsageError(f"{path}: the test rows have no column {name!r}.")
    return replace(
        table,
        x_test=categorical.encode(test, how, f"{path}: test rows"),
        y_test=test[label],
        test_columns={name: _key(test[name]) for name in rest if name in test},
    )


def encode_rows(table: RawTable, path: Path, request: Request, wishes: Wishes) -> RawTable:
    """Drop and encode columns of an array of numbers, as of an NPZ file."""
    if wishes.categorical is None and not wishes.drop:
        return table
    if table.x.ndim != 2:
        raise UsageError(f"{path}: data.categorical and data.drop are about columns, but x holds images.")
    columns = dict(zip(table.features, table.x.T, strict=True))
    chosen = _chosen(list(columns), path, None, (), wishes)
    how = categorical.plan(
        columns, chosen, wishes.categorical, str(path), allow_missing=request.allow_missing
    )
    names, origins = categorical.features(how)
    x_test = table.x_test
    if x_test is not None and x_test.shape[1:] == table.x.shape[1:]:
        test = dict(zip(table.features, x_test.T, strict=True))
        x_test = categorical.encode(test, how, f"{path}: x_test")
    x = categorical.encode(columns, how, str(path))
    return replace(table, x=x, features=names, x_test=x_test, origins=origins)


def _chosen(
    names: list[str], path: Path, label: str | None, others: Sequence[str | None], wishes: Wishes
) -> list[str]:
    for name in (*(wishes.features or ()), *wishes.drop):
        position(name, names, path)
    chosen = [name for name in names if name != label and name not in others]
    if wishes.features is not None:
        chosen = list(wishes.features)
    chosen = [name for name in chosen if name not in wishes.drop]
    if not chosen:
        raise UsageError(
            f"{path}: no feature column beside {label!r}." if label else f"{path}: no feature column."
        )
    return chosen


def _key(column: AnyArray) -> AnyArray:
    """Return whole numbers as int64, so that client 10 comes after client 9; everything else as it is."""
    if column.dtype.kind != "U":
        return column
    stripped = np.char.strip(column)
    canonical = np.char.isdigit(stripped).all() if len(stripped) else False
    if not canonical or np.any((np.char.startswith(stripped, "0")) & (np.char.str_len(stripped) > 1)):
        return stripped
    return stripped.astype(np.int64)
