"""The idx format of MNIST: two zero bytes, a type, the number of axes, their lengths, then the values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedbal.errors import RunError

_UINT8 = 0x08
_GZIP = b"\x1f\x8b"


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read unsigned bytes of any shape from an idx file, gzipped or not.

    Raises
    ------
    RunError
        The file cannot be read, is cut short, is too long, or is no idx file of unsigned bytes.
    """
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"{path} cannot be read: {error}; fetch it again.") from error
    if len(content) < 4 or content[:2] != b"\0\0":
        raise RunError(f"{path} is no idx file: it starts with {content[:4].hex() or 'nothing'}.")
    kind, axes = content[2], content[3]
    if kind != _UINT8:
        raise RunError(f"{path} holds values of idx type 0x{kind:02x}; unsigned bytes (0x08) are expected.")
    start = 4 + 4 * axes
    if axes == 0 or len(content) < start:
        raise RunError(f"{path} is cut short or damaged: its header promises {axes} axes.")
    shape = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise RunError(
            f"{path} holds {len(content) - start} values where its header promises "
            f"{' x '.join(map(str, shape))}; fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
