"""Run directories as bytes, between machines that share no disk."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from fedbal.results import LOCK


def pack(path: Path) -> bytes:
    """Return a directory as an uncompressed tar archive, without its lock."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in sorted(path.rglob("*")):
            if entry.is_file() and entry.name != LOCK:
                archive.add(entry, entry.relative_to(path).as_posix(), recursive=False)
    return buffer.getvalue()


def unpack(content: bytes, path: Path) -> None:
    """Write what :func:`pack` returned into a directory; members that point out of it are refused."""
    path.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(path, filter="data")
