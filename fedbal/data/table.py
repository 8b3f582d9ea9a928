"""A user's own table: rows of numbers or images, a label, perhaps a client column and a test set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedbal.data.columns import identities
from fedbal.data.dataset import AnyArray, Dataset, Request, Scaling
from fedbal.data.labels import encode
from fedbal.data.places import find
from fedbal.data.splits import hold_out
from fedbal.data.table_columns import from_columns, read_csv, read_parquet
from fedbal.data.table_npz import RawTable, read_npz
from fedbal.errors import UsageError

_CHANNELS = (1, 3, 4)
_LISTED = 20


def load(
    request: Request,
    *,
    path: str,
    label: str,
    features: Sequence[str] | None,
    classes: Sequence[str] | None,
    test: float,
) -> Dataset:
    """Read, check and, if the file brings no test set, hold one out.

    Parameters
    ----------
    request : Request
        Its client column is no feature; with one, the test rows come from every client and class by its size,
        so that each client is represented, else from every class.
    path : str
        ``.npz``, ``.csv`` or ``.parquet``.
    label : str
        Array or column with the labels: whole numbers or names.
    features : sequence of str, optional
        Columns to learn from; left out: all but label and client column.
    classes : sequence of str, optional
        Class names in label order.
    test : float
        Share in (0, 1) to hold out if the file brings no test set.

    Raises
    ------
    UsageError
        What the file holds cannot be used; the message names arrays or columns.
    RunError
        The file is damaged.
    """
    place = find(path, request.base)
    table = _read(place, label, features, request.client_column)
    if not len(table.x):
        raise UsageError(f"{place} has no rows.")
    x = as_rows(table.x, table.features, f"{place}: x")
    names = classes if classes is not None else table.classes
    y, y_test, names = encode(table.y, table.y_test, names, f"{place}: {label}")
    columns = dict(table.columns)
    if table.x_test is not None and y_test is not None:
        if table.x_test.shape[:1] != y_test.shape or not len(y_test):
            raise UsageError(f"{place}: x_test has shape {table.x_test.shape} for {len(y_test)} test labels.")
        x_test = as_rows(table.x_test, table.features, f"{place}: x_test")
        if x_test.shape[1:] != x.shape[1:] or x_test.dtype != x.dtype:
            raise UsageError(
                f"{place}: rows of x_test are {x_test.dtype} {x_test.shape[1:]}, those of x {x.dtype} "
                f"{x.shape[1:]}."
            )
    else:
        owner = np.zeros_like(y)
        if request.client_column in columns:
            owner = identities(columns[request.client_column], request.client_column)[1]
        held_out = hold_out(owner, y, len(names), share=test, seed=request.seed)
        if not held_out.any():
            raise UsageError(
                f"{place}: {len(y)} rows are too few to hold out {test:g} of them as test set; raise "
                "data.test or give x_test."
            )
        x, x_test, y, y_test = x[~held_out], x[held_out], y[~held_out], y[held_out]
        columns = {key: values[~held_out] for key, values in columns.items()}
    return Dataset(
        name="table",
        x=x,
        y=y,
        x_test=x_test,
        y_test=y_test,
        classes=names,
        scaling=Scaling(255.0) if x.dtype == np.uint8 else Scaling(),
        columns=columns,
        features=table.features,
        source=str(place),
        licence="the user's own",
    )


def _read(place: Path, label: str, features: Sequence[str] | None, client_column: str | None) -> RawTable:
    suffix = place.suffix.lower()
    if place.is_dir() or suffix not in (".npz", ".csv", ".parquet"):
        raise UsageError(f"{place}: a table is a .npz, .csv or .parquet file.")
    if suffix == ".npz":
        return read_npz(place, label, features, client_column)
    columns = read_csv(place) if suffix == ".csv" else read_parquet(place)
    return from_columns(columns, place, label, features, client_column)


def as_rows(x: AnyArray, features: tuple[str, ...], where: str) -> AnyArray:
    """Return vectors as float32 ``(n, d)`` and images channels first, uint8 or float32."""
    if x.dtype.kind not in "biuf":
        raise UsageError(f"{where} has type {x.dtype}; numbers are needed.")
    if x.ndim not in (2, 3, 4) or 0 in x.shape[1:]:
        raise UsageError(
            f"{where} has shape {x.shape}; use (n, d) for vectors, (n, height, width) or "
            "(n, height, width, channels) for images."
        )
    if x.ndim == 2 or x.dtype != np.uint8:
        x = _finite(x, features, where)
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[3] in _CHANNELS:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    if x.ndim == 4 and x.shape[1] not in _CHANNELS:
        raise UsageError(f"{where} has shape {x.shape}; images have 1, 3 or 4 channels.")
    return x


def _finite(x: AnyArray, features: tuple[str, ...], where: str) -> AnyArray:
    with np.errstate(over="ignore"):
        values: AnyArray = x.astype(np.float32)
    bad = ~np.isfinite(values)
    if not bad.any():
        return values
    if x.ndim != 2:
        raise UsageError(f"{where}: {int(bad.sum())} pixels are NaN or infinite; fill them in.")
    counts = bad.sum(axis=0)
    found = [f"{features[column]} ({counts[column]})" for column in np.flatnonzero(counts)]
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    raise UsageError(
        f"{where}: missing (NaN) or infinite values, by column: {', '.join(found[:_LISTED])}{more}; fill them "
        "in or drop these rows or columns (data.features lists the columns to learn from)."
    )
