"""A folder of pictures, one folder for each class; perhaps one for each client, perhaps train and test apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedbal.data.dataset import AnyArray, Dataset, Request
from fedbal.data.pictures import Size, decode, stack
from fedbal.data.places import find
from fedbal.data.table import finish
from fedbal.data.table_npz import RawTable
from fedbal.errors import UsageError
from fedbal.registry import unknown_name

SUFFIXES = (".png", ".jpg", ".jpeg")
TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class _Picture:
    path: Path
    label: str
    client: str


def load(
    request: Request,
    *,
    path: str,
    size: Size,
    mode: str,
    test: float,
    clients_first: bool,
    pattern: str | None,
) -> Dataset:
    """Read every picture, resized; classes are the sorted names of their folders.

    Parameters
    ----------
    request : Request
        As for a table: client and group column can be ``client`` and what ``pattern`` names.
    path : str
        Folder ``class/file``, or ``client/class/file``; with folders ``train`` and ``test`` these hold it, and
        nothing is held out.
    size : int or (int, int)
        Height and width of all pictures.
    mode : str
        ``grey`` or ``rgb``.
    test : float
        Share in (0, 1) to hold out if there is no folder ``test``.
    clients_first : bool
        Whether folders of clients hold the folders of classes.
    pattern : str, optional
        Regular expression with named groups, searched in every file name: each name is a column.

    Raises
    ------
    UsageError
        The folder is not of this form; the message names what is not.
    RunError
        A picture is damaged.
    """
    root = find(path, request.base)
    if not root.is_dir():
        raise UsageError(
            f"{root} is no folder; data.path is the folder that holds one folder for each class."
        )
    apart = (root / TRAIN).is_dir() and (root / TEST).is_dir()
    ignored: Counter[str] = Counter()
    parts = [
        _listed(one, clients_first, ignored) for one in ((root / TRAIN, root / TEST) if apart else (root,))
    ]
    classes = sorted({picture.label for picture in parts[0]})
    if len(classes) < 2:
        raise UsageError(
            f"{root}: pictures of at least two classes are needed, one folder for each; "
            f"found {', '.join(classes) or 'none'}."
        )
    strange = sorted({picture.label for picture in parts[-1]} - set(classes))
    if strange:
        raise UsageError(f"{root / TEST}: class {strange[0]!r} has no training picture.")
    columns = [_columns(part, root, clients_first, pattern) for part in parts]
    for name in (request.client_column, request.group):
        if name is not None and name not in columns[0]:
            known = (
                unknown_name("column", name, columns[0]) if columns[0] else f"no column {name!r}, nor any."
            )
            raise UsageError(
                f"{root}: {known} data.clients_first gives the column 'client', data.pattern what it names."
            )
    pixels = [_pixels(part, size, mode) for part in parts]
    labels = [np.array([picture.label for picture in part], dtype=np.str_) for part in parts]
    table = RawTable(
        pixels[0],
        _codes(labels[0], classes),
        (),
        pixels[1] if apart else None,
        _codes(labels[1], classes) if apart else None,
        columns[0],
        tuple(classes),
        coded=True,
        test_columns=columns[1] if apart else {},
    )
    note = ", ".join(f"{count} {what}" for what, count in sorted(ignored.items()))
    return finish(
        table,
        request,
        name="folder",
        where=str(root),
        label="class",
        classes=None,
        test=test,
        source=f"{root} ({note} ignored)" if note else str(root),
    )


def _codes(labels: AnyArray, classes: Sequence[str]) -> AnyArray:
    # Folder 007 is not class 7, as it would be if names were read as labels.
    return np.searchsorted(np.array(classes, dtype=np.str_), labels)


def _listed(root: Path, clients_first: bool, ignored: Counter[str]) -> list[_Picture]:
    found: list[_Picture] = []
    empty: dict[str, Path] = {}
    for outer in _folders(root, ignored):
        for folder in _folders(outer, ignored) if clients_first else [outer]:
            before = len(found)
            for path in sorted(folder.iterdir()):
                if path.name.startswith("."):
                    ignored["hidden files"] += 1
                elif path.is_dir():
                    raise UsageError(
                        f"{path} is a folder in the folder of class {folder.name!r}, which holds pictures only; "
                        "for client/class/file set data.clients_first: true."
                    )
                elif path.suffix.lower() in SUFFIXES:
                    found.append(_Picture(path, folder.name, outer.name if clients_first else ""))
                else:
                    ignored["other files"] += 1
            if len(found) == before:
                empty[folder.name] = folder
    present = {picture.label for picture in found}
    for label, folder in empty.items():
        if label not in present:
            raise UsageError(
                f"{folder}: class {label!r} has no picture ({', '.join(SUFFIXES)}); fill or remove it."
            )
    return found


def _folders(root: Path, ignored: Counter[str]) -> Iterator[Path]:
    for path in sorted(root.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            yield path
        else:
            ignored["hidden files" if path.name.startswith(".") else "other files"] += 1


def _columns(
    pictures: Sequence[_Picture], root: Path, clients_first: bool, pattern: str | None
) -> dict[str, AnyArray]:
    columns: dict[str, list[str]] = (
        {"client": [picture.client for picture in pictures]} if clients_first else {}
    )
    if pattern is not None:
        names = list(re.compile(pattern).groupindex)
        matches = []
        for picture in pictures:
            match = re.search(pattern, picture.path.name)
            if match is None or any(match[name] is None for name in names):
                raise UsageError(f"{picture.path}: data.pattern {pattern!r} does not match this name.")
            matches.append(match)
        columns |= {name: [match[name] for match in matches] for name in names}
    return {name: np.array(values, dtype=np.str_) for name, values in columns.items()}


def _pixels(pictures: Sequence[_Picture], size: Size, mode: str) -> AnyArray:
    names = [str(picture.path) for picture in pictures]
    return stack([decode(name, name, size, mode) for name in names], names, "folder")
