"""Checkpoints: everything a run needs to go on, complete or not there.

A checkpoint is written into a hidden folder and renamed to ``checkpoint/round-000012`` when it is complete; the
newest one counts and older ones are then removed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import RecordDict
from safetensors.numpy import load_file
from safetensors.numpy import save as save_arrays

from fedbal.errors import RunError
from fedbal.grid.state import ClientStates, SavedStates
from fedbal.protocol import Arrays
from fedbal.results import CHECKPOINT, disk_errors, to_json


@dataclass(frozen=True)
class Snapshot:
    """The state of a run after a round.

    Attributes
    ----------
    round : int
        Last finished round.
    arrays : dict of ndarray
        The global model.
    strategy : dict of ndarray
        The rule's own state.
    clients : mapping, ClientStates or SavedStates
        Client states by node id; those of a run that is going on are saved as they are then.
    offsets : dict
        Sizes of the jsonl files.
    progress : dict
        Running totals, JSON-ready.
    """

    round: int
    arrays: Arrays
    strategy: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    clients: Mapping[int, RecordDict] | ClientStates | SavedStates = field(default_factory=dict)
    offsets: Mapping[str, int] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)


def save(directory: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint of the run in ``directory`` and drop the older ones."""
    root = directory / CHECKPOINT
    final = root / f"round-{snapshot.round:06d}"
    if final.exists():
        return
    with disk_errors(directory):
        root.mkdir(exist_ok=True)
        partial = root / ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        (partial / "model.safetensors").write_bytes(save_arrays(_contiguous(snapshot.arrays)))
        (partial / "strategy.safetensors").write_bytes(save_arrays(_contiguous(snapshot.strategy)))
        if isinstance(snapshot.clients, ClientStates):
            snapshot.clients.save(partial)
        head = {
            "round": snapshot.round,
            "arrays": list(snapshot.arrays),
            "offsets": dict(snapshot.offsets),
            "progress": dict(snapshot.progress),
        }
        (partial / "run.json").write_text(to_json(head))
        _flush(partial)
        partial.rename(final)
    for old in root.iterdir():
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def load(directory: Path) -> Snapshot | None:
    """Read the newest complete checkpoint; None if the run was stopped before its first."""
    root = directory / CHECKPOINT
    complete = sorted(root.glob("round-*")) if root.is_dir() else []
    if not complete:
        return None
    path = complete[-1]
    try:
        head = json.loads((path / "run.json").read_text())
        tensors = load_file(path / "model.safetensors")
        return Snapshot(
            round=int(head["round"]),
            arrays={name: tensors[name] for name in head["arrays"]},
            strategy=load_file(path / "strategy.safetensors"),
            clients=SavedStates(path),
            offsets=head["offsets"],
            progress=head["progress"],
        )
    except Exception as error:
        raise RunError(f"checkpoint {path} is damaged: {type(error).__name__}: {error}.") from error


def _contiguous(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.asarray(value, order="C") for name, value in arrays.items()}


def _flush(directory: Path) -> None:
    """Force the files of a checkpoint to disk before its name says that it is complete."""
    for path in directory.iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
