"""Tensors to records and back: what clients send, and what they keep between their rounds."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from flwr.app import ArrayRecord, RecordDict
from torch import Tensor

from clients.base import Tensors
from fedbal.protocol import to_arrays, to_record


def encode(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    """Return named tensors, from any device, as a Flower record."""
    return to_record({name: value.cpu().numpy() for name, value in tensors.items()})


def floating_like(records: RecordDict, name: str, like: Mapping[str, Tensor]) -> Tensors:
    """Read an array record for every floating tensor of ``like``; what it lacks, or all of it, is 0."""
    arrays = to_arrays(records.array_records.get(name, ArrayRecord()))
    return {
        key: torch.from_numpy(arrays[key]).to(value) if key in arrays else torch.zeros_like(value)
        for key, value in like.items()
        if value.is_floating_point()
    }
