"""A user's own table: rows of numbers or images, a label, perhaps a client column and a test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fedbal.data.categorical import Categories
from fedbal.data.columns import identities
from fedbal.data.dataset import AnyArray, Dataset, IntArray, Request, Scaling
from fedbal.data.groups import hold_out_groups
from fedbal.data.labels import encode, positions
from fedbal.data.places import find
from fedbal.data.splits import hold_out
from fedbal.data.table_columns import read_csv, read_parquet
from fedbal.data.table_features import Wishes, encode_rows, from_columns
from fedbal.data.table_npz import RawTable, read_npz
from fedbal.errors import UsageError
from fedbal.registry import unknown_name

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
    categorical: Categories | None = None,
    drop: Sequence[str] = (),
) -> Dataset:
    """Read, check and, if the file brings no test set, hold one out.

    Parameters
    ----------
    request : Request
        Its client column is no feature; with one, the test rows come from every client and class by its size,
        so that each client is represented, else from every class. Rows of its group column's equal values are
        held out together.
    path : str
        ``.npz``, ``.csv`` or ``.parquet``.
    label : str
        Array or column with the labels: whole numbers or names.
    features : sequence of str, optional
        Columns to learn from; left out: all but label, client and group column.
    classes : sequence of str, optional
        Class names in label order.
    test : float
        Share in (0, 1) to hold out if the file brings no test set.
    categorical : sequence of str or Mapping, optional
        Columns that are categories whatever they hold, perhaps with their levels. Columns of texts or booleans
        always are; the levels are those of all rows, or of the training rows if the file brings a test set.
    drop : sequence of str
        Columns to leave out of the features.

    Raises
    ------
    UsageError
        What the file holds cannot be used; the message names arrays or columns.
    RunError
        The file is damaged.
    """
    place = find(path, request.base)
    table = _read(place, label, request, Wishes(features, categorical, drop))
    return finish(table, request, name="table", where=str(place), label=label, classes=classes, test=test)


def finish(
    table: RawTable,
    request: Request,
    *,
    name: str,
    where: str,
    label: str,
    classes: Sequence[str] | None,
    test: float,
    source: str | None = None,
    licence: str = "the user's own",
) -> Dataset:
    """Check what was found and hold a test set out unless it brings one.

    Parameters
    ----------
    table : RawTable
        What was found.
    request : Request
        As for :func:`load`.
    name, where, label : str
        Name of the source, place of the data and name of the label, for messages.
    classes : sequence of str, optional
        Class names in label order.
    test : float
        Share in (0, 1) to hold out.
    source, licence : str
        Where the data come from, the place if left out, and on what terms.
    """
    if not len(table.x):
        raise UsageError(f"{where} has no rows.")
    shaped = partial(as_rows, allow_missing=request.allow_missing, origins=table.origins)
    x = shaped(table.x, table.features, f"{where}: x")
    names = classes if classes is not None else table.classes
    if table.coded and names is not None:
        y, y_test, names = positions(table.y, table.y_test, names, f"{where}: {label}")
    else:
        y, y_test, names = encode(table.y, table.y_test, names, f"{where}: {label}")
    columns, test_columns = dict(table.columns), table.test_columns
    if table.x_test is not None and y_test is not None:
        if table.x_test.shape[:1] != y_test.shape or not len(y_test):
            raise UsageError(f"{where}: x_test has shape {table.x_test.shape} for {len(y_test)} test labels.")
        x_test = shaped(table.x_test, table.features, f"{where}: x_test")
        if x_test.shape[1:] != x.shape[1:] or x_test.dtype != x.dtype:
            raise UsageError(
                f"{where}: rows of x_test are {x_test.dtype} {x_test.shape[1:]}, those of x {x.dtype} "
                f"{x.shape[1:]}."
            )
        _require_apart(table, request.group, where)
    else:
        held_out = _held_out(columns, y, len(names), request, test)
        if not held_out.any():
            raise UsageError(
                f"{where}: {len(y)} rows are too few to hold out {test:g} of them as test set; raise "
                "data.test or give x_test."
            )
        x, x_test, y, y_test = x[~held_out], x[held_out], y[~held_out], y[held_out]
        test_columns = {key: values[held_out] for key, values in columns.items()}
        columns = {key: values[~held_out] for key, values in columns.items()}
    return Dataset(
        name=name,
        x=x,
        y=y,
        x_test=x_test,
        y_test=y_test,
        classes=names,
        scaling=Scaling(255.0) if x.dtype == np.uint8 else Scaling(),
        columns=columns,
        features=table.features,
        source=where if source is None else source,
        licence=licence,
        test_columns=test_columns,
    )


def _held_out(
    columns: Mapping[str, AnyArray], y: IntArray, classes: int, request: Request, share: float
) -> AnyArray:
    owner, client = np.zeros_like(y), request.client_column
    if client is not None and client in columns:
        owner = identities(columns[client], client)[1]
    if request.group is None:
        return hold_out(owner, y, classes, share=share, seed=request.seed)
    if request.group not in columns:
        raise UsageError(f"data.group: {unknown_name('column', request.group, columns)}")
    groups = identities(columns[request.group], request.group, "group")[1]
    return hold_out_groups(owner, y, groups, classes, share=share, seed=request.seed)


def _require_apart(table: RawTable, group: str | None, where: str) -> None:
    """Refuse a test set of its own that shares groups with the training rows, where both name them."""
    if group is None or group not in table.columns or group not in table.test_columns:
        return
    both = np.intersect1d(table.columns[group].astype(np.str_), table.test_columns[group].astype(np.str_))
    if len(both):
        raise UsageError(
            f"{where}: {len(both)} values of {group!r}, such as {str(both[0])!r}, stand in the training and the "
            "test rows; take them out of one of the two, or leave data.group out."
        )


def _read(place: Path, label: str, request: Request, wishes: Wishes) -> RawTable:
    suffix = place.suffix.lower()
    if place.is_dir() or suffix not in (".npz", ".csv", ".parquet"):
        raise UsageError(f"{place}: a table is a .npz, .csv or .parquet file.")
    if suffix == ".npz":
        table = read_npz(place, label, wishes.features, (request.client_column, request.group))
        return encode_rows(table, place, request, wishes)
    columns = read_csv(place) if suffix == ".csv" else read_parquet(place)
    return from_columns(columns, place, label, request, wishes)


def as_rows(
    x: AnyArray,
    features: tuple[str, ...],
    where: str,
    *,
    allow_missing: bool = False,
    origins: tuple[str, ...] = (),
) -> AnyArray:
    """Return vectors as float32 ``(n, d)`` and images channels first, uint8 or float32.

    Parameters
    ----------
    x : numpy.ndarray
        ``(n, d)``, ``(n, height, width)``, or images with channels first or last.
    features : tuple of str
        Name of each column of a vector.
    where : str
        For messages.
    allow_missing : bool
        Whether NaN may stay in vectors.
    origins : tuple of str
        Column that each feature comes from, if not its own.
    """
    if x.dtype.kind not in "biuf":
        raise UsageError(f"{where} has type {x.dtype}; numbers are needed.")
    if x.ndim not in (2, 3, 4) or 0 in x.shape[1:]:
        raise UsageError(
            f"{where} has shape {x.shape}; use (n, d) for vectors, (n, height, width) or "
            "(n, height, width, channels) for images."
        )
    if x.ndim == 2 or x.dtype != np.uint8:
        x = _finite(x, origins or features, where, allow_missing and x.ndim == 2)
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[3] in _CHANNELS:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    if x.ndim == 4 and x.shape[1] not in _CHANNELS:
        raise UsageError(f"{where} has shape {x.shape}; images have 1, 3 or 4 channels.")
    return x


def _finite(x: AnyArray, columns: tuple[str, ...], where: str, allow_missing: bool) -> AnyArray:
    with np.errstate(over="ignore"):
        values: AnyArray = x.astype(np.float32)
    bad = np.isinf(values) if allow_missing else ~np.isfinite(values)
    if not bad.any():
        return values
    if x.ndim != 2:
        raise UsageError(f"{where}: {int(bad.sum())} pixels are NaN or infinite; fill them in.")
    counts: dict[str, int] = {}
    for name, count in zip(columns, bad.sum(axis=0).tolist(), strict=True):
        counts[name] = max(counts.get(name, 0), count)
    found = [f"{name} ({count})" for name, count in counts.items() if count]
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    raise UsageError(
        f"{where}: missing (NaN) or infinite values, by column: {', '.join(found[:_LISTED])}{more}; have "
        "missing ones replaced (data.preprocess: {impute: median}), or drop these rows or columns (data.features "
        "lists the columns to learn from)."
    )
