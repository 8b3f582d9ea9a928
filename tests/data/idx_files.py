"""The MNIST file format, written by hand for the tests."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from fedbal.data.dataset import AnyArray
from fedbal.data.releases import FILES


def idx_bytes(array: AnyArray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def arrays(train: int = 40, test: int = 20) -> dict[str, AnyArray]:
    rng = np.random.Generator(np.random.PCG64(0))
    return {
        "x_train": rng.integers(0, 256, (train, 28, 28), dtype=np.uint8),
        "y_train": (np.arange(train) % 10).astype(np.uint8),
        "x_test": rng.integers(0, 256, (test, 28, 28), dtype=np.uint8),
        "y_test": (np.arange(test) % 10).astype(np.uint8),
    }


def write_folder(folder: Path, content: dict[str, AnyArray], zipped: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(FILES, content.values(), strict=True):
        # A fixed time stamp keeps the bytes, hence the checksums, the same.
        data = gzip.compress(idx_bytes(array), mtime=0) if zipped else idx_bytes(array)
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(data)
    return folder
