"""Download a file of known checksum; it appears under its name only when it is whole."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from fedbal.errors import RunError

TIMEOUT_SECONDS = 20.0
_CHUNK_BYTES = 1 << 20


def md5(path: Path) -> str:
    """Return the MD5 of a file: it tells a published file from a damaged one, not from a forged one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(urls: Sequence[str], target: Path, checksum: str) -> None:
    """Fetch ``target`` from the first address that serves it with the expected MD5.

    Parameters
    ----------
    urls : sequence of str
        Addresses, tried in order.
    target : Path
        Where the file goes; its folder is created.
    checksum : str
        Expected MD5 in hexadecimal.

    Raises
    ------
    RunError
        No address served it, or it cannot be written; the message says why for each.
    """
    reasons = []
    for url in urls:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _fetch(url, target, checksum)
            return
        except (OSError, http.client.HTTPException, ValueError) as error:
            reasons.append(f"{url}: {error}")
    raise RunError(f"cannot download {target.name} ({'; '.join(reasons)})")


def _fetch(url: str, target: Path, checksum: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    part = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response,
        ):
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
        if (found := md5(part)) != checksum:
            raise ValueError(f"MD5 is {found} instead of {checksum}")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
