"""The handwritten digits that ship with the package: nothing to download, nothing to install."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from pathlib import Path

import numpy as np

from fedbal.data.dataset import Dataset, Request, Scaling
from fedbal.data.splits import hold_out
from fedbal.errors import RunError

_FILE = Path(__file__).with_name("digits.json")


def load(request: Request, *, test: float) -> Dataset:
    """Return the digits with a stratified share held out as global test set.

    Parameters
    ----------
    request : Request
        Its seed decides which rows are held out.
    test : float
        Share in (0, 1).

    Raises
    ------
    RunError
        The package file is damaged.
    """
    try:
        packed = json.loads(_FILE.read_text(encoding="utf-8"))
        raw = zlib.decompress(base64.b64decode(packed["data"]))
        if hashlib.sha256(raw).hexdigest() != packed["sha256"]:
            raise ValueError("checksum differs")
    except (OSError, ValueError, KeyError, zlib.error) as error:
        raise RunError(f"the packaged digits {_FILE} are damaged ({error}); reinstall fedbal.") from error
    rows, channels, height, width = packed["shape"]
    pixels = rows * channels * height * width
    x = np.frombuffer(raw, np.uint8, pixels).reshape(rows, channels, height, width).copy()
    y = np.frombuffer(raw, np.uint8, rows, pixels).astype(np.int64)
    held_out = hold_out(np.zeros_like(y), y, 10, share=test, seed=request.seed)
    return Dataset(
        name="digits",
        x=x[~held_out],
        y=y[~held_out],
        x_test=x[held_out],
        y_test=y[held_out],
        classes=tuple(str(digit) for digit in range(10)),
        scaling=Scaling(divide=16.0),
        source=packed["source"],
        licence=packed["licence"],
    )
