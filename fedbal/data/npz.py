"""Reading NPZ files: never unpickled, every kind of damage one clear message."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from fedbal.data.dataset import AnyArray
from fedbal.errors import RunError, UsageError


def read_arrays(path: Path) -> dict[str, AnyArray]:
    """Return all arrays of an NPZ file.

    Raises
    ------
    UsageError
        An array holds Python objects, which are never loaded.
    RunError
        The file cannot be read, is no NPZ file or is damaged.
    """
    if not zipfile.is_zipfile(path):
        raise RunError(f"{path} is no NPZ file, or it is cut short; save it again with numpy.savez.")
    arrays: dict[str, AnyArray] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                arrays[key] = _array(file, key, path)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"{path} is damaged: {error}; save it again with numpy.savez.") from error
    return arrays


def _array(file: np.lib.npyio.NpzFile, key: str, path: Path) -> AnyArray:
    try:
        array: AnyArray = file[key]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise UsageError(
                f"{path}: array {key!r} holds Python objects, which are never loaded; save it as numbers, or "
                "strings with .astype(str)."
            ) from error
        raise
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{path}: {key!r} is no array; save arrays with numpy.savez.")
    return array
