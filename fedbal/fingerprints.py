"""Hashes that say whether two runs are a pair: same data, initial model, cohorts, minibatches, code."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from fedbal.protocol import Arrays
from fedbal.seeding import entropy

PACKAGES = ("fedbal", "flwr", "torch", "numpy", "ray", "pydantic", "safetensors")
SOURCES = ("fedbal", "strategies", "clients")


def of_arrays(arrays: Arrays) -> str:
    """Hash names, dtypes, shapes and bytes of a model."""
    digest = hashlib.sha256()
    for name, value in arrays.items():
        digest.update(f"{name}|{value.dtype.str}|{value.shape}|".encode())
        digest.update(np.asarray(value, order="C").tobytes())
    return digest.hexdigest()


def of_code(extra: Iterable[Path] = ()) -> str:
    """Hash fedbal's own sources and the files of a user's components."""
    digest = hashlib.sha256()
    for name in SOURCES:
        root = Path(__import__(name).__file__ or "").parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{name}/{path.relative_to(root).as_posix()}|".encode())
            digest.update(path.read_bytes())
    for path in extra:
        digest.update(f"{path.name}|".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def of_packages() -> dict[str, str]:
    """Return the versions of everything that can change a number."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def of_hardware(device: str) -> dict[str, Any]:
    """Describe the machine."""
    import torch

    described = {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "device": device,
    }
    if device.startswith("cuda") and torch.cuda.is_available():
        described["gpu"] = torch.cuda.get_device_name(0)
    return described


def chain(previous: str, server_round: int, values: Sequence[int]) -> str:
    """Add a round's integers to a running hash."""
    digest = hashlib.sha256(previous.encode())
    digest.update(np.asarray([server_round, *values], np.int64).tobytes())
    return digest.hexdigest()


def batch_keys(seed: int, server_round: int, clients: Mapping[str, int]) -> list[int]:
    """Return what decides each client's minibatches: the key of its stream and its number of samples."""
    values = []
    for key, samples in clients.items():
        values += [entropy(seed, "batches", key, server_round) & (2**63 - 1), samples]
    return values


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
