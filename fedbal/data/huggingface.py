"""A data set in Hugging Face's form: from the hub, or a local folder without a network.

Flower Datasets loads with `datasets.load_dataset` too and adds partitioners, which fedbal has itself (see
`fedbal.data`); so `datasets` is called directly, and local folders need nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedbal.data.categorical import Categories
from fedbal.data.dataset import AnyArray, Dataset, Request
from fedbal.data.pictures import Size, decode, stack
from fedbal.data.table import finish
from fedbal.data.table_columns import plain
from fedbal.data.table_features import Wishes, from_columns
from fedbal.data.table_npz import RawTable
from fedbal.errors import RunError, UsageError
from fedbal.registry import unknown_name


def load(
    request: Request,
    *,
    path: str,
    subset: str | None,
    revision: str | None,
    label: str,
    image: str | None,
    features: Sequence[str] | None,
    categorical: Categories | None,
    drop: Sequence[str],
    size: Size | None,
    mode: str,
    split: str,
    test_split: str | None,
    test: float,
) -> Dataset:
    """Read one split to train on and, if it is there, one to test on.

    Parameters
    ----------
    request : Request
        Client and group column are columns of the data set.
    path : str
        Local folder (Parquet, pictures, or what ``save_to_disk`` wrote), or a name on the hub.
    subset, revision : str, optional
        Configuration and version of a data set on the hub.
    label : str
        Column with the label.
    image : str, optional
        Column with the picture; left out: a table of ``features``.
    features, categorical, drop
        As for a table.
    size : int or (int, int), optional
        Height and width of the pictures; left out: they must be of one size.
    mode : str
        ``grey`` or ``rgb``.
    split, test_split : str
        Names of the splits; without ``test_split`` a share is held out.
    test : float
        Share in (0, 1) to hold out.

    Raises
    ------
    UsageError
        `datasets` is not installed, or a split or column does not exist.
    RunError
        There is neither file nor network, or the files are damaged.
    """
    local = _local(path, request.base)
    where = str(local) if local is not None else path
    parts = _splits(local, path, subset, revision)
    for name in (split, *([test_split] if test_split is not None else [])):
        if name not in parts:
            raise UsageError(f"{where}: {unknown_name('split', name, parts)}")
    train, tests = parts[split], None if test_split is None else parts[test_split]
    needed: list[tuple[str | None, str]] = [(label, "label column"), (image, "image column")]
    needed += [(request.client_column, "column"), (request.group, "column")]
    for column, role in needed:
        if column is not None and column not in train.column_names:
            raise UsageError(f"{where}: {unknown_name(role, column, train.column_names)}")
    if image is None:
        wishes = Wishes(features, categorical, drop)
        columns = _columns(train, label, ())
        others = None if tests is None else _columns(tests, label, ())
        table = from_columns(columns, Path(where), label, request, wishes, others)
    else:
        table = _images(train, tests, image, label, size, mode, where)
    names = getattr(train.features[label], "names", None)
    if names:
        table = replace(table, classes=tuple(names), coded=True)
    return finish(
        table,
        request,
        name="huggingface",
        where=where,
        label=label,
        classes=None,
        test=test,
        source=where if local is not None else f"https://huggingface.co/datasets/{path}",
        licence=train.info.license or "see the source",
    )


def _local(path: str, base: Path | None) -> Path | None:
    for place in [*([base] if base is not None else []), Path.cwd()]:
        if (place / Path(path).expanduser()).exists():
            return place / Path(path).expanduser()
    return None


def _splits(local: Path | None, path: str, subset: str | None, revision: str | None) -> dict[str, Any]:
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            "data sets of Hugging Face need its package datasets: pip install 'fedbal[data]'."
        ) from error
    if local is None and Path(path).is_absolute():
        raise UsageError(f"no file or folder {path}; correct data.path: a folder, or a name on the hub.")
    try:
        if local is not None and any(
            (local / name).is_file() for name in ("dataset_dict.json", "state.json")
        ):
            found = datasets.load_from_disk(str(local))
        else:
            found = datasets.load_dataset(
                str(local or path), subset, revision=revision if local is None else None
            )
    except Exception as error:
        # Hub, network, file formats and pyarrow each raise their own.
        reason = " ".join(str(error).split())[:300]
        advice = (
            "check the files in this folder"
            if local is not None
            else "without a network, get the data set elsewhere, save it with save_to_disk or as Parquet files, "
            "and set data.path to that folder; if there is a network, check the name"
        )
        raise RunError(
            f"{local or path} cannot be loaded ({type(error).__name__}: {reason}); {advice}."
        ) from error
    return dict(found) if isinstance(found, dict) else {"train": found}


def _columns(rows: Any, label: str, without: Sequence[str]) -> dict[str, AnyArray]:
    """Return all columns; a column of coded names, unless it is the label, as its names."""
    names = [name for name in rows.column_names if name not in without]
    table = rows.select_columns(names).with_format("arrow")[:]
    columns = {name: plain(table.column(name).to_numpy()) for name in names}
    for name in names:
        words = getattr(rows.features[name], "names", None)
        if words and name != label:
            texts = np.array([*words, ""], dtype=np.str_)
            codes = np.nan_to_num(columns[name].astype(np.float64), nan=-1.0).astype(np.int64)
            columns[name] = texts[codes]
    return columns


def _images(
    train: Any, tests: Any, image: str, label: str, size: Size | None, mode: str, where: str
) -> RawTable:
    x, columns = _pixels(train, image, size, mode, where), _columns(train, label, (image,))
    y = columns.pop(label)
    if tests is None:
        return RawTable(x, y, (), columns=columns)
    others = _columns(tests, label, (image,))
    return RawTable(
        x,
        y,
        (),
        _pixels(tests, image, size, mode, where),
        others.pop(label),
        columns,
        test_columns={name: others[name] for name in columns if name in others},
    )


def _pixels(rows: Any, image: str, size: Size | None, mode: str, where: str) -> AnyArray:
    import datasets

    if not isinstance(rows.features[image], datasets.Image):
        try:
            rows = rows.cast_column(image, datasets.Image())
        except Exception as error:
            raise UsageError(
                f"{where}: column {image!r} holds no pictures but {rows.features[image]}; name the column of "
                "pictures under data.image, or columns of numbers under data.features."
            ) from error
    pictures, names = [], []
    for row, value in enumerate(rows.cast_column(image, datasets.Image(decode=False))[image]):
        name = f"{where}, row {row} of {image!r}"
        if value is None:
            raise UsageError(f"{name}: the picture is missing.")
        file = io.BytesIO(value["bytes"]) if value["bytes"] is not None else value["path"]
        pictures.append(decode(file, name, size, mode))
        names.append(f"row {row}")
    return stack(pictures, names, where) if pictures else np.zeros((0, 1, 1), np.uint8)
