"""MNIST and Fashion-MNIST: idx files or an NPZ, from a given place, FEDBAL_DATA, the cache or the web."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedbal.data.dataset import AnyArray, Dataset, Request, Scaling
from fedbal.data.download import download, md5
from fedbal.data.idx import read_idx
from fedbal.data.npz import read_arrays
from fedbal.data.places import cache_folder, data_folder, find
from fedbal.data.releases import FASHION_MNIST, FILES, MNIST, Release
from fedbal.errors import RunError, UsageError

KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_fashion_mnist(request: Request, *, path: str | None) -> Dataset:
    """Return Fashion-MNIST; see `load_release`."""
    return load_release(FASHION_MNIST, request, path)


def load_mnist(request: Request, *, path: str | None) -> Dataset:
    """Return MNIST; see `load_release`."""
    return load_release(MNIST, request, path)


def load_release(release: Release, request: Request, path: str | None) -> Dataset:
    """Return the images, channels first and uint8, with the published test set.

    Parameters
    ----------
    release : Release
        Which data set.
    request : Request
        Its base is where a relative path starts.
    path : str, optional
        Folder with the four idx files (gzipped or not) or an NPZ with ``x_train, y_train, x_test, y_test``.
        Left out: what ``FEDBAL_DATA`` holds, else the cache, else a download into it.

    Raises
    ------
    UsageError
        The place named does not hold the data set.
    RunError
        A file is damaged, or there is neither file nor network.
    """
    place = find(path, request.base) if path is not None else _search(release)
    if place is None:
        place = _cached(release)
    arrays = _read(place, release)
    for images, labels in (KEYS[:2], KEYS[2:]):
        _check(place, images, arrays[images], labels, arrays[labels])
    return Dataset(
        name=release.name,
        x=arrays["x_train"][:, None],
        y=arrays["y_train"].astype(np.int64),
        x_test=arrays["x_test"][:, None],
        y_test=arrays["y_test"].astype(np.int64),
        classes=release.classes,
        scaling=Scaling(255.0, (release.mean,), (release.std,)),
        source=release.source,
        licence=release.licence,
    )


def _search(release: Release) -> Path | None:
    """Look in the place that FEDBAL_DATA names."""
    place = data_folder()
    if place is None or place.is_file():
        return place
    for name in release.spellings:
        for candidate in (place / f"{name}.npz", place / name / "raw", place / name):
            if candidate.is_file() or _idx_files(candidate) is not None:
                return candidate
    return None


def _idx_files(folder: Path) -> list[Path] | None:
    """Return the four files in order, or None if one is missing."""
    found = []
    for name in FILES:
        options = [name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz"]
        present = [folder / option for option in options if (folder / option).is_file()]
        if not present:
            return None
        found.append(present[0])
    return found


def _cached(release: Release) -> Path:
    """Return the cache folder of this data set, filled."""
    folder = cache_folder() / release.name
    for name, checksum in release.checksums.items():
        target = folder / f"{name}.gz"
        if target.is_file() and md5(target) == checksum:
            continue
        try:
            download([f"{mirror}{target.name}" for mirror in release.mirrors], target, checksum)
        except RunError as error:
            raise RunError(
                f"{release.name} is not here and {error}. Without a network: get the four files from "
                f"{release.mirrors[0]} ({', '.join(f'{file}.gz' for file in FILES)}) and put them into {folder}, "
                f"or set data.path, or FEDBAL_DATA, to a folder with them or with {release.spellings[1]}.npz "
                f"({', '.join(KEYS)})."
            ) from error
    return folder


def _read(place: Path, release: Release) -> dict[str, AnyArray]:
    if place.is_file():
        arrays = read_arrays(place)
        missing = [key for key in KEYS if key not in arrays]
        if missing:
            raise UsageError(
                f"{place} has no array {', '.join(missing)}; {release.name} needs {', '.join(KEYS)}."
            )
        return {key: arrays[key] for key in KEYS}
    files = _idx_files(place)
    if files is None:
        raise UsageError(f"{place} does not hold the four files {', '.join(FILES)}, plain or with .gz.")
    return {key: read_idx(file) for key, file in zip(KEYS, files, strict=True)}


def _check(place: Path, images: str, x: AnyArray, labels: str, y: AnyArray) -> None:
    if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (28, 28):
        raise UsageError(f"{place}: {images} must be uint8 of shape (n, 28, 28), not {x.dtype} {x.shape}.")
    if y.dtype.kind not in "iu" or y.shape != (len(x),) or not len(y):
        raise UsageError(
            f"{place}: {labels} must be {len(x)} whole numbers, one per image, not {y.dtype} {y.shape}."
        )
    if y.min() < 0 or y.max() > 9:
        raise UsageError(f"{place}: {labels} holds labels from {y.min()} to {y.max()}; 0 to 9 are expected.")
