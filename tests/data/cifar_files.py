"""Small CIFAR batches in the published form: pickles as Python 2 and NumPy 1 wrote them."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from fedbal.data.cifar_releases import CifarRelease

PER_CLASS = 3


def python2_pickle(value: Any) -> bytes:
    """Write protocol 2 with Python 2's byte strings, and arrays by the names that NumPy 1 used."""
    out = io.BytesIO()
    out.write(b"\x80\x02")
    _write(out, value)
    out.write(b".")
    return out.getvalue()


def _write(out: io.BytesIO, value: Any) -> None:
    if isinstance(value, bytes):
        out.write(b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value)))
        out.write(value)
    elif isinstance(value, bool):
        out.write(b"I01\n" if value else b"I00\n")
    elif isinstance(value, int):
        out.write(b"J" + struct.pack("<i", value))
    elif value is None:
        out.write(b"N")
    elif isinstance(value, list | tuple):
        out.write(b"](" if isinstance(value, list) else b"(")
        for item in value:
            _write(out, item)
        out.write(b"e" if isinstance(value, list) else b"t")
    elif isinstance(value, dict):
        out.write(b"}(")
        for key, item in value.items():
            _write(out, key)
            _write(out, item)
        out.write(b"u")
    else:
        out.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01")
        _write(out, tuple(value.shape))
        code = value.dtype.str[1:].encode()
        out.write(b"cnumpy\ndtype\n(U" + bytes([len(code)]) + code + b"K\x00K\x01tR(K\x03U\x01|NNN")
        out.write(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
        _write(out, False)
        _write(out, value.tobytes())
        out.write(b"tb")


def batch(release: CifarRelease, seed: int) -> dict[bytes, Any]:
    rng = np.random.Generator(np.random.PCG64(seed))
    fine = release.labels["fine"]
    labels = rng.permutation(np.tile(np.arange(len(fine[1])), PER_CLASS))
    content: dict[bytes, Any] = {
        b"batch_label": b"a batch",
        fine[0].encode(): labels.tolist(),
        b"data": rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8),
        b"filenames": [b"a_s_%06d.png" % number for number in range(len(labels))],
    }
    if "coarse" in release.labels:
        content[release.labels["coarse"][0].encode()] = (labels % 20).tolist()
    return content


def batches(release: CifarRelease) -> dict[str, dict[bytes, Any]]:
    return {name: batch(release, seed) for seed, name in enumerate((*release.train, *release.test))}


def write_folder(folder: Path, content: dict[str, dict[bytes, Any]]) -> Path:
    folder.mkdir(parents=True)
    for name, entries in content.items():
        (folder / name).write_bytes(python2_pickle(entries))
    return folder


def write_archive(path: Path, release: CifarRelease, content: dict[str, dict[bytes, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, entries in content.items():
            data = python2_pickle(entries)
            member = tarfile.TarInfo(f"{release.folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
