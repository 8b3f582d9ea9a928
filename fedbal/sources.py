"""A user's data as they are, before a scenario says what is label, feature or client: a table or image folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from fedbal.data.dataset import AnyArray
from fedbal.data.npz import read_arrays
from fedbal.data.table_columns import read_csv, read_parquet
from fedbal.errors import UsageError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
TABLES = (".csv", ".parquet", ".npz")
CLASS = "class"
"""Label of an image folder: the name of the directory."""


@dataclass(frozen=True)
class Source:
    """What was read.

    Attributes
    ----------
    path : Path
        The file or folder.
    columns : dict of str to numpy.ndarray
        Every column, ``(n,)``; of an image folder its classes alone.
    images : sequence of bytes, optional
        A digest of each image; None for a table of numbers.
    image_shape : tuple of int
        Height and width, and channels if there are several, of the images of an NPZ file.
    own_test : bool
        Whether the file brings a test set.
    folder : bool
        Whether this is a folder of images.
    """

    path: Path
    columns: dict[str, AnyArray]
    images: Sequence[bytes] | None = None
    image_shape: tuple[int, ...] = ()
    own_test: bool = False
    folder: bool = False

    def row_keys(self, columns: Sequence[str]) -> Sequence[bytes]:
        """Return a digest of each row over some columns, or of its image."""
        if self.images is not None:
            return self.images
        texts = [self.columns[name].astype(np.str_) for name in columns]
        return [_digest("\x1f".join(row).encode()) for row in zip(*texts, strict=True)]


def read_source(path: Path) -> Source:
    """Read a CSV, Parquet or NPZ file, or list a folder that has a directory of images for each class.

    Raises
    ------
    UsageError
        There is no such file, or it is of another kind, or empty.
    RunError
        It is damaged.
    """
    if path.is_dir():
        return _read_folder(path)
    suffix = path.suffix.lower()
    if suffix not in TABLES or not path.is_file():
        what = "there is no such file" if not path.is_file() else f"{suffix or 'no suffix'} is none of these"
        raise UsageError(
            f"{path}: {what}; give a {', '.join(TABLES)} file, or a folder with a directory of images a class."
        )
    if suffix == ".npz":
        source = _read_npz(path)
    else:
        source = Source(path, read_csv(path) if suffix == ".csv" else read_parquet(path))
    if not source.columns or not len(next(iter(source.columns.values()))):
        raise UsageError(f"{path} has no rows.")
    return source


def _read_npz(path: Path) -> Source:
    arrays = read_arrays(path)
    key = "x" if "x" in arrays or "x_train" not in arrays else "x_train"
    if key not in arrays or arrays[key].ndim < 2:
        raise UsageError(
            f"{path}: an array x of shape (n, d), (n, height, width) or (n, height, width, channels) is needed; "
            f"the file holds {', '.join(arrays) or 'nothing'}."
        )
    x = arrays[key]
    columns = {
        name.removesuffix("_train") if key == "x_train" else name: values
        for name, values in arrays.items()
        if values.shape == (len(x),)
    }
    own_test = "x_test" in arrays
    if x.ndim > 2:
        digests = [_digest(np.ascontiguousarray(image).tobytes()) for image in x]
        return Source(path, columns, digests, tuple(x.shape[1:]), own_test)
    names = next(
        (
            arrays[name].tolist()
            for name in ("columns", "feature_names")
            if name in arrays and arrays[name].dtype.kind == "U" and arrays[name].shape == (x.shape[1],)
        ),
        [str(index) for index in range(x.shape[1])],
    )
    return Source(path, {**dict(zip(names, x.T, strict=True)), **columns}, own_test=own_test)


def _read_folder(path: Path) -> Source:
    own_test = (path / "train").is_dir() and (path / "test").is_dir()
    files = [
        (folder.name, file)
        for folder in sorted((path / "train" if own_test else path).iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in IMAGES and file.is_file()
    ]
    if not files:
        raise UsageError(
            f"{path}: no images; a folder needs one directory for each class with {', '.join(IMAGES)} files in it."
        )
    classes = np.array([name for name, _ in files], dtype=np.str_)
    digests = [_digest(file.read_bytes()) for _, file in files]
    return Source(path, {CLASS: classes}, digests, own_test=own_test, folder=True)


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
