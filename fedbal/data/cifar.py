"""CIFAR-10 and CIFAR-100: the published Python batches, or an NPZ file.

Krizhevsky. Learning Multiple Layers of Features from Tiny Images. Technical report, 2009. The batches are Python
pickles; `fedbal.data.cifar_batches` reads them without unpickling, and a download is kept only if it has the
published MD5.
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import numpy as np

from fedbal.data.cifar_batches import MOST_BYTES, read_batch
from fedbal.data.cifar_releases import CIFAR10, CIFAR100, CifarRelease
from fedbal.data.dataset import AnyArray, Dataset, IntArray, Request, Scaling
from fedbal.data.download import download, md5
from fedbal.data.mnist import KEYS
from fedbal.data.npz import read_arrays
from fedbal.data.places import cache_folder, data_folder, find
from fedbal.errors import RunError, UsageError

Part = tuple[AnyArray, AnyArray]
_ARCHIVES = (".tar.gz", ".tgz", ".tar")


def load_cifar10(request: Request, *, path: str | None) -> Dataset:
    """Return CIFAR-10; see `load_release`."""
    return load_release(CIFAR10, request, path, "fine")


def load_cifar100(request: Request, *, path: str | None, labels: str) -> Dataset:
    """Return CIFAR-100 with its 100 fine or 20 coarse classes; see `load_release`."""
    return load_release(CIFAR100, request, path, labels)


def load_release(release: CifarRelease, request: Request, path: str | None, labels: str) -> Dataset:
    """Return the images, ``(n, 3, 32, 32)`` uint8, with the published test set.

    Parameters
    ----------
    release : CifarRelease
        Which data set.
    request : Request
        Its base is where a relative path starts.
    path : str, optional
        The published archive, the folder in it, or an NPZ with ``x_train, y_train, x_test, y_test``, images
        ``(n, 32, 32, 3)``. Left out: what ``FEDBAL_DATA`` holds, else the cache, else a download into it.
    labels : str
        ``fine`` or ``coarse``; an NPZ must hold this kind.

    Raises
    ------
    UsageError
        The place named does not hold the data set.
    RunError
        A file is damaged, or there is neither file nor network.
    """
    key, classes = release.labels[labels]
    place = find(path, request.base) if path is not None else _search(release)
    if place is None:
        place = _cached(release)
    if place.is_file() and place.suffix.lower() == ".npz":
        train, test = _from_npz(place, release)
    else:
        contents = _files(place, release)
        train, test = (
            _joined([_batch(place, name, contents[name], key) for name in names])
            for names in (release.train, release.test)
        )
    x, y = _checked(*train, len(classes), f"{place}: training")
    x_test, y_test = _checked(*test, len(classes), f"{place}: test")
    return Dataset(
        name=release.name,
        x=x,
        y=y,
        x_test=x_test,
        y_test=y_test,
        classes=classes,
        scaling=Scaling(255.0, release.mean, release.std),
        source=release.source,
        licence=release.licence,
    )


def _search(release: CifarRelease) -> Path | None:
    """Look in the place that FEDBAL_DATA names."""
    place = data_folder()
    if place is None or place.is_file():
        return place
    candidates = [place / f"{name}.npz" for name in release.spellings]
    candidates += [place / release.archive, *(place / name for name in release.spellings), place]
    return next((one for one in candidates if one.is_file() or _folder(one, release) is not None), None)


def _cached(release: CifarRelease) -> Path:
    """Return the archive in the cache, downloaded if it is not there whole."""
    target = cache_folder() / release.name / release.archive
    if target.is_file() and md5(target) == release.md5:
        return target
    try:
        download([f"{mirror}{release.archive}" for mirror in release.mirrors], target, release.md5)
    except RunError as error:
        raise RunError(
            f"{release.name} is not here and {error}. Without a network: get {release.mirrors[0]}{release.archive} "
            f"and put it into {target.parent}, or set data.path, or FEDBAL_DATA, to the archive, to the folder "
            f"{release.folder} in it or to a {release.name}.npz ({', '.join(KEYS)})."
        ) from error
    return target


def _folder(place: Path, release: CifarRelease) -> Path | None:
    """Return the folder with all batch files: the place itself or the published one in it."""
    for folder in (place, place / release.folder):
        if all((folder / name).is_file() for name in (*release.train, *release.test)):
            return folder
    return None


def _files(place: Path, release: CifarRelease) -> dict[str, bytes]:
    wanted = (*release.train, *release.test)
    if place.is_dir():
        folder = _folder(place, release)
        if folder is None:
            raise UsageError(f"{place} does not hold the batch files {', '.join(wanted)}.")
        return {name: (folder / name).read_bytes() for name in wanted}
    if not place.name.lower().endswith(_ARCHIVES):
        raise UsageError(
            f"{place}: {release.name} is the archive {release.archive}, the folder {release.folder} or an "
            ".npz file."
        )
    return _unpacked(place, wanted)


def _unpacked(archive: Path, wanted: tuple[str, ...]) -> dict[str, bytes]:
    """Read the wanted files of an archive into memory; nothing is written, so no name in it matters."""
    contents = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                if name in wanted and member.isfile() and member.size <= MOST_BYTES:
                    file = tar.extractfile(member)
                    contents[name] = file.read() if file is not None else b""
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise RunError(f"{archive} is no archive or is damaged: {error}; download it again.") from error
    missing = [name for name in wanted if name not in contents]
    if missing:
        raise UsageError(f"{archive} does not hold the batch files {', '.join(missing)}.")
    return contents


def _batch(place: Path, name: str, content: bytes, key: str) -> Part:
    try:
        batch = read_batch(content)
    except ValueError as error:
        raise RunError(f"{place}: batch file {name} {error}; get it again from the publisher.") from error
    pixels, labels = batch.get("data"), batch.get(key)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise RunError(f"{place}: batch file {name} has no array 'data' of shape (n, 3072).")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise RunError(f"{place}: batch file {name} has no list {key!r} of whole numbers.")
    if any(not 0 <= label < 1000 for label in labels):
        raise RunError(f"{place}: batch file {name} has impossible labels in {key!r}.")
    return pixels.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


def _joined(parts: list[Part]) -> Part:
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _from_npz(place: Path, release: CifarRelease) -> tuple[Part, Part]:
    arrays = read_arrays(place)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise UsageError(
            f"{place} has no array {', '.join(missing)}; {release.name} needs {', '.join(KEYS)}."
        )
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _checked(x: AnyArray, y: AnyArray, classes: int, where: str) -> tuple[AnyArray, IntArray]:
    if x.ndim == 4 and x.shape[1:] == (32, 32, 3):
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    if x.dtype != np.uint8 or x.shape[1:] != (3, 32, 32):
        raise UsageError(f"{where} images must be uint8 of shape (n, 32, 32, 3), not {x.dtype} {x.shape}.")
    if y.shape == (len(x), 1):
        y = y[:, 0]
    if y.dtype.kind not in "iu" or y.shape != (len(x),) or not len(y):
        raise UsageError(
            f"{where} labels must be {len(x)} whole numbers, one per image, not {y.dtype} {y.shape}."
        )
    if y.min() < 0 or y.max() >= classes:
        raise UsageError(f"{where} labels go from {y.min()} to {y.max()}; 0 to {classes - 1} are expected.")
    return x, y.astype(np.int64)
