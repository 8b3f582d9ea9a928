"""Bytes by integer key in files that are never written twice: a checkpoint links them instead of copying."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

MOST_FILES = 16
INDEX = "states.npy"
"""Rows (key, file, offset, length), int64."""


class Segments:
    """A store of bytes by key.

    What is written together goes into one new file; a key's latest place counts. Files are merged into one when
    there are many, or when most of what they hold has been replaced.

    Parameters
    ----------
    folder : Path
        Where the files are; made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._places: dict[int, tuple[int, int, int]] = {}
        self._sizes: dict[int, int] = {}
        self._next = 0

    def __contains__(self, key: int) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def read(self, key: int) -> bytes:
        """Return the latest bytes of a key."""
        number, offset, length = self._places[key]
        with self._path(number).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def write(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Write some keys, whole or not at all."""
        self._append(items)
        live = sum(length for _, _, length in self._places.values())
        if len(self._sizes) > MOST_FILES or sum(self._sizes.values()) > 2 * live:
            old = list(self._sizes)
            self._append((key, self.read(key)) for key in list(self._places))
            for number in old:
                del self._sizes[number]
                self._path(number).unlink()

    def save(self, directory: Path) -> None:
        """Put all files and the index into a directory, without copying where the file system can link."""
        for number in self._sizes:
            _link(self._path(number), directory / self._path(number).name)
        rows = [(key, *place) for key, place in sorted(self._places.items())]
        np.save(directory / INDEX, np.array(rows, np.int64).reshape(-1, 4))

    def restore(self, directory: Path) -> None:
        """Take over what was saved into a directory; this store must be empty."""
        rows = np.load(directory / INDEX, allow_pickle=False)
        self._places = {key: (number, offset, length) for key, number, offset, length in rows.tolist()}
        for number in sorted({number for number, _, _ in self._places.values()}):
            path = self._path(number)
            _link(directory / path.name, path)
            self._sizes[number] = path.stat().st_size
            self._next = number + 1

    def _append(self, items: Iterable[tuple[int, bytes]]) -> None:
        number, offset = self._next, 0
        places = {}
        partial = self._folder / ".partial"
        with partial.open("wb") as file:
            for key, data in items:
                file.write(data)
                places[key] = (number, offset, len(data))
                offset += len(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._path(number))
        self._next = number + 1
        self._sizes[number] = offset
        self._places.update(places)

    def _path(self, number: int) -> Path:
        return self._folder / f"states-{number:06d}.bin"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
