"""Tensors to records and back: what clients send, and what they keep between their rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from flwr.app import ArrayRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from clients.base import Tensors
from fedbal.protocol import to_arrays, to_record


def encode(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    """Return named tensors, from any device, as a Flower record."""
    return to_record(to_host(tensors))


def to_host(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Return named tensors as arrays in main memory, those of one dtype and device in one copy.

    Tensors that are in main memory already share it with their arrays.
    """
    if all(value.device.type == "cpu" for value in tensors.values()):
        return {name: value.numpy() for name, value in tensors.items()}
    groups: dict[tuple[torch.dtype, torch.device], list[str]] = {}
    for name, value in tensors.items():
        groups.setdefault((value.dtype, value.device), []).append(name)
    arrays = {}
    for (_, device), names in groups.items():
        some = {name: tensors[name] for name in names}
        arrays.update(to_host(some) if device.type == "cpu" else in_one(list(some.values()), names))
    return {name: arrays[name] for name in tensors}


def in_one(tensors: Sequence[Tensor], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return tensors of one dtype and device as arrays, by way of a single copy to main memory."""
    whole = torch.cat([value.reshape(-1) for value in tensors]).cpu()
    parts = torch.split(whole, [value.numel() for value in tensors])
    # Each its own memory: what keeps one tensor must not keep the others.
    return {
        name: part.numpy().copy().reshape(value.shape)
        for name, part, value in zip(names, parts, tensors, strict=True)
    }


def floating_like(records: RecordDict, name: str, like: Mapping[str, Tensor]) -> Tensors:
    """Read an array record for every floating tensor of ``like``; what it lacks, or all of it, is 0."""
    arrays = to_arrays(records.array_records.get(name, ArrayRecord()))
    return {
        key: torch.from_numpy(arrays[key]).to(value) if key in arrays else torch.zeros_like(value)
        for key, value in like.items()
        if value.is_floating_point()
    }
