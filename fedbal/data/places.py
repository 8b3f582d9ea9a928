"""Where files are: the scenario's folder, the current folder, ``FEDBAL_DATA`` and the cache."""

from __future__ import annotations

import os
from pathlib import Path

from fedbal.errors import UsageError


def find(path: str, base: Path | None) -> Path:
    """Return an existing file or folder; a relative path starts at ``base``, then at the current folder.

    Raises
    ------
    UsageError
        There is none.
    """
    places = [*([base] if base is not None else []), Path.cwd()]
    for place in places:
        candidate = place / Path(path).expanduser()
        if candidate.exists():
            return candidate
    if Path(path).expanduser().is_absolute():
        raise UsageError(f"no file or folder {path}; correct data.path.")
    tried = " or ".join(dict.fromkeys(str(place) for place in places))
    raise UsageError(f"no file or folder {path!r} in {tried}; correct data.path or give an absolute path.")


def data_folder() -> Path | None:
    """Return the place that the environment variable ``FEDBAL_DATA`` names, if it is set.

    Raises
    ------
    UsageError
        It names nothing that exists.
    """
    value = os.environ.get("FEDBAL_DATA")
    if not value:
        return None
    place = Path(value).expanduser()
    if not place.exists():
        raise UsageError(f"FEDBAL_DATA names {value}, which does not exist; correct or unset it.")
    return place


def cache_folder() -> Path:
    """Return the folder for downloads: ``FEDBAL_CACHE``, or ``fedbal`` in the user's cache folder."""
    if chosen := os.environ.get("FEDBAL_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fedbal"
