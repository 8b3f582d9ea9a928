"""Flower records at rest: arrays as safetensors behind a JSON head, everything else in it; nothing is unpickled."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from fedbal.protocol import to_arrays, to_record

_KINDS = {"config": ConfigRecord, "metric": MetricRecord}
_HEAD = 8
"""Bytes of the head's length, little-endian."""


def to_bytes(content: RecordDict) -> bytes:
    """Encode a record dictionary: length of the head, the head as JSON, the arrays as safetensors."""
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    index: list[dict[str, Any]] = []
    for name, record in content.items():
        entry: dict[str, Any] = {"record": name}
        if isinstance(record, ArrayRecord):
            arrays = to_arrays(record)
            entry |= {"kind": "array", "names": list(arrays), "start": len(tensors)}
            for value in arrays.values():
                tensors[f"{len(tensors):08d}"] = np.asarray(value, order="C")
        else:
            kind = "config" if isinstance(record, ConfigRecord) else "metric"
            entry |= {"kind": kind, "values": {field: _plain(value) for field, value in record.items()}}
        index.append(entry)
    head = json.dumps(index).encode()
    return len(head).to_bytes(_HEAD, "little") + head + save_arrays(tensors)


def from_bytes(data: bytes) -> RecordDict:
    """Decode what :func:`to_bytes` made."""
    start = _HEAD + int.from_bytes(data[:_HEAD], "little")
    tensors = load_arrays(data[start:])
    content = RecordDict()
    for entry in json.loads(data[_HEAD:start]):
        if entry["kind"] == "array":
            names = enumerate(entry["names"], int(entry["start"]))
            content[entry["record"]] = to_record({name: tensors[f"{i:08d}"] for i, name in names})
        else:
            values = {field: _restore(value) for field, value in entry["values"].items()}
            content[entry["record"]] = _KINDS[entry["kind"]](values)
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _restore(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    if isinstance(value, list):
        return [_restore(item) for item in value]
    return value
