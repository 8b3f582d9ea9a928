"""Flower records at rest: arrays as safetensors, everything else as JSON; nothing is ever unpickled."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from safetensors.numpy import load_file
from safetensors.numpy import save as save_arrays

from fedbal.protocol import to_arrays, to_record

_KINDS = {"config": ConfigRecord, "metric": MetricRecord}


def save_record_dicts(directory: Path, records: Mapping[int, RecordDict]) -> None:
    """Write record dictionaries by integer key as ``records.safetensors`` and ``records.json``."""
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    index: list[dict[str, Any]] = []
    for key, content in sorted(records.items()):
        for name, record in content.items():
            entry: dict[str, Any] = {"key": key, "record": name}
            if isinstance(record, ArrayRecord):
                arrays = to_arrays(record)
                entry |= {"kind": "array", "names": list(arrays), "start": len(tensors)}
                for value in arrays.values():
                    tensors[f"{len(tensors):08d}"] = np.asarray(value, order="C")
            else:
                kind = "config" if isinstance(record, ConfigRecord) else "metric"
                entry |= {"kind": kind, "values": {field: _plain(value) for field, value in record.items()}}
            index.append(entry)
    (directory / "records.safetensors").write_bytes(save_arrays(tensors))
    (directory / "records.json").write_text(json.dumps(index))


def load_record_dicts(directory: Path) -> dict[int, RecordDict]:
    """Read what :func:`save_record_dicts` wrote."""
    tensors = load_file(directory / "records.safetensors")
    contents: dict[int, RecordDict] = {}
    for entry in json.loads((directory / "records.json").read_text()):
        content = contents.setdefault(int(entry["key"]), RecordDict())
        if entry["kind"] == "array":
            start = int(entry["start"])
            names = enumerate(entry["names"], start)
            content[entry["record"]] = to_record({name: tensors[f"{i:08d}"] for i, name in names})
        else:
            values = {field: _restore(value) for field, value in entry["values"].items()}
            content[entry["record"]] = _KINDS[entry["kind"]](values)
    return contents


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
