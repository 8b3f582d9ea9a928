"""The run directory: the only format that anything downstream reads.

``scenario.yaml``, ``fingerprints.json``, ``clients.csv``, ``heterogeneity.json`` (sizes, class counts and distances
as ``fedbal partition`` shows them), ``rounds.jsonl``, ``clients.jsonl``, ``checkpoint/``, ``final_clients.csv``
(scores of the final model, where clients evaluate), ``model.safetensors`` and ``summary.json``; with
``data.preprocess`` also ``preprocess.json``, the statistics that clients were sent; with
``runtime.record_updates`` also ``updates/``; with ``track`` also ``track.json``. The jsonl files are append-only,
except that resuming first cuts them back to the offsets in the checkpoint; every other file appears whole or not
at all.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fedbal.errors import RunError, UsageError

RUNS = Path("runs")
SCENARIO = "scenario.yaml"
FINGERPRINTS = "fingerprints.json"
CLIENTS_TABLE = "clients.csv"
HETEROGENEITY = "heterogeneity.json"
PREPROCESS = "preprocess.json"
SITES = "sites.json"
"""Who sits where in a deployed run, and what each site said of itself."""
ROUNDS = "rounds.jsonl"
FINAL_CLIENTS = "final_clients.csv"
CLIENTS = "clients.jsonl"
CHECKPOINT = "checkpoint"
MODEL = "model.safetensors"
SUMMARY = "summary.json"
LOCK = ".lock"
UPDATES = "updates"
TRACK = "track.json"
STATES = ".states"
"""Client state of a run that is going on."""


def default_directory(name: str) -> Path:
    """Return a directory that does not exist yet, ``runs/<name>-<time>``."""
    stem = RUNS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1, 1000):
        path = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
        if not path.exists():
            return path
    raise UsageError(f"{stem} and its successors exist; give --out.")


class RunDirectory:
    """Writes a run directory; holds its lock, so that no second process writes into it.

    Parameters
    ----------
    path : Path
        The directory; made if it does not exist.
    resume : bool
        Whether a run is expected there; otherwise the directory must be new or empty.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path = path
        if resume and not (path / SCENARIO).is_file():
            raise UsageError(f"{path} holds no run to resume (no {SCENARIO} in it).")
        if not resume:
            require_empty(path)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
        self._files: dict[str, IO[bytes]] = {}

    def write(self, name: str, text: str | Iterable[str]) -> None:
        """Write a file, in pieces if it is large, so that it is there whole or not at all."""
        pieces = [text] if isinstance(text, str) else text
        with disk_errors(self.path):
            write_atomically(self.path / name, (piece.encode() for piece in pieces))

    def append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows to a jsonl file, one object a line."""
        data = b"".join(to_json(row).encode() + b"\n" for row in rows)
        with disk_errors(self.path):
            handle = self._files.get(name)
            if handle is None:
                handle = self._files[name] = (self.path / name).open("ab", buffering=0)
            written = 0
            while written < len(data):
                written += handle.write(data[written:]) or 0

    def offsets(self) -> dict[str, int]:
        """Return the size of each jsonl file."""
        sizes = {}
        for name in (ROUNDS, CLIENTS):
            path = self.path / name
            sizes[name] = path.stat().st_size if path.exists() else 0
        return sizes

    def cut(self, offsets: Mapping[str, int]) -> None:
        """Cut the jsonl files back to ``offsets``; a file shorter than that is damaged."""
        for name in (ROUNDS, CLIENTS):
            path, size = self.path / name, offsets.get(name, 0)
            path.touch()
            if path.stat().st_size < size:
                raise RunError(
                    f"{path} has {path.stat().st_size} bytes, the checkpoint expects at least {size}; "
                    "it was changed after the run wrote it: start the run anew in another directory."
                )
            os.truncate(path, size)

    def close(self) -> None:
        """Close the files and release the lock."""
        for handle in self._files.values():
            handle.close()
        self._files.clear()
        self._lock.close()


class RunReader:
    """Reads a run directory, finished or still growing.

    Parameters
    ----------
    path : str or Path
        The directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / SCENARIO).is_file():
            raise UsageError(f"{self.path} is not a run directory (no {SCENARIO} in it).")

    @property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario."""
        import yaml

        content: dict[str, Any] = yaml.safe_load((self.path / SCENARIO).read_text())
        return content

    @property
    def fingerprints(self) -> dict[str, Any]:
        """Hashes of everything that pairs runs."""
        return read_json(self.path / FINGERPRINTS) or {}

    def rounds(self) -> list[dict[str, Any]]:
        """Return the rows of finished rounds."""
        return list(read_rows(self.path / ROUNDS))

    def clients(self) -> list[dict[str, Any]]:
        """Return one row for each client and round in which it was asked."""
        return list(read_rows(self.path / CLIENTS))

    def summary(self) -> dict[str, Any] | None:
        """Return the summary; None before the end of the run."""
        return read_json(self.path / SUMMARY)

    @property
    def status(self) -> str:
        """``finished`` or ``diverged`` at the end, else ``running`` or ``interrupted``."""
        summary = self.summary()
        if summary is not None:
            return str(summary["status"])
        return "running" if _is_locked(self.path) else "interrupted"


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object that a JSON file holds; None if there is no file."""
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}.") from error
    return content


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Iterate over the complete rows of a jsonl file; none if it does not exist."""
    if not path.exists():
        return
    *lines, rest = path.read_bytes().split(b"\n")
    # What follows the last newline is a row still being written.
    del rest
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise RunError(f"{path}:{number} is damaged: {error}.") from error


def to_json(value: Any) -> str:
    """Encode as JSON; numbers that are not finite become null."""
    try:
        return json.dumps(value, allow_nan=False)
    except (ValueError, TypeError):
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write beside the target, flush to disk, then rename over it."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.writelines([data] if isinstance(data, bytes) else data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: Path, fix: str | None = None) -> Iterator[None]:
    """Turn errors of the disk into one clear message; ``fix`` says what to do about a full one."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"no space left for {path}; {fix or f'free some and go on with `fedbal run --resume {path}`'}."
            ) from error
        raise RunError(f"cannot write {path}: {error.strerror or error}.") from error


def require_empty(path: Path) -> None:
    """Refuse a directory that holds anything, another run above all."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; --out must name a new or empty directory.")
    if (path / SCENARIO).exists():
        raise UsageError(
            f"{path} holds another run; choose another --out, or go on with it: `fedbal run --resume {path}`."
        )
    if path.exists() and any(entry.name != LOCK for entry in path.iterdir()):
        raise UsageError(f"{path} is not empty; --out must name a new or empty directory.")


def _lock(path: Path) -> IO[bytes]:
    handle = (path / LOCK).open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise UsageError(f"{path} is in use by another running process; wait for it or stop it.") from None
    return handle


def _is_locked(path: Path) -> bool:
    try:
        with (path / LOCK).open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
