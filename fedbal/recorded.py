"""Recorded rounds at rest: what clients replied, the model that they started from, and what the rule made of it.

``updates/round-000005.safetensors`` holds arrays, ``updates/round-000005.json`` everything else; where the latter
is, the round is complete.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from fedbal.errors import RunError
from fedbal.protocol import ARRAYS, Arrays
from fedbal.results import UPDATES, disk_errors, to_json, write_atomically
from strategies.mean import blocks_of
from strategies.validation import ClientReply

FORMAT = 1
GLOBAL = "global/"
STATE = "state/"
REPLIES = "replies/"


@dataclass(frozen=True)
class RecordedRound:
    """A round as it was recorded.

    Attributes
    ----------
    round : int
        Which, from 1.
    arrays : Arrays
        The global model before it, as far as it travels.
    replies : sequence of ClientReply
        The recorded valid replies, by node.
    cohort : mapping
        Node id to the name of every client that was asked, ascending.
    replied : int
        Valid replies of the round; more than are recorded if only some clients are.
    dropped : mapping
        Name to the reason of every reply of a recorded client that could not be used.
    weights : mapping
        Node id to the weight that the rule of the run gave; empty if it says none.
    state : mapping
        That rule's own state before the round.
    following : str
        Fingerprint of the model after the round.
    known : mapping
        Node id to extras that the client was not asked for and the simulation knows.
    """

    round: int
    arrays: Arrays
    replies: Sequence[ClientReply]
    cohort: Mapping[int, str]
    replied: int
    dropped: Mapping[str, str]
    weights: Mapping[int, float]
    state: Mapping[str, NDArray[Any]]
    following: str
    known: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every valid reply of the round is recorded."""
        return len(self.replies) == self.replied

    def extras(self, node: int) -> dict[str, Any]:
        """Return what is known of a client beside its model: what it sent, and what the simulation knows."""
        sent = next(reply.extras for reply in self.replies if reply.node == node)
        return {**self.known.get(node, {}), **sent}


def path_of(directory: Path, server_round: int) -> Path:
    """Return where the json of a round of a run is; the arrays are beside it."""
    return directory / UPDATES / f"round-{server_round:06d}.json"


def save_round(directory: Path, recorded: RecordedRound) -> None:
    """Write a round into a run directory; the same round has the same bytes."""
    path = path_of(directory, recorded.round)
    tensors: Arrays = {f"{GLOBAL}{name}": value for name, value in recorded.arrays.items()}
    tensors |= {f"{STATE}{name}": value for name, value in recorded.state.items()}
    records = {}
    named = [{ARRAYS: reply.arrays, **reply.records} for reply in recorded.replies]
    for record in dict.fromkeys(name for one in named for name in one):
        rows = [row for row, one in enumerate(named) if record in one]
        names = list(named[rows[0]][record])
        if any(set(named[row][record]) != set(names) for row in rows):
            raise RunError(f"clients sent different arrays in {record!r}; their updates cannot be recorded.")
        records[record] = {"rows": rows, "names": names}
        for name in names:
            tensors[f"{REPLIES}{record}/{name}"] = np.stack([named[row][record][name] for row in rows])
    head = {
        "format": FORMAT,
        "round": recorded.round,
        "base_version": recorded.round,
        "replied": recorded.replied,
        "recorded": len(recorded.replies),
        "cohort": [{"node": node, "client": name} for node, name in recorded.cohort.items()],
        "clients": [_client(recorded, reply) for reply in recorded.replies],
        "dropped": dict(recorded.dropped),
        "global": list(recorded.arrays),
        "state": list(recorded.state),
        "records": records,
        "next": recorded.following,
    }
    with disk_errors(path.parent):
        path.parent.mkdir(exist_ok=True)
        ordered = {name: np.asarray(value, order="C") for name, value in tensors.items()}
        write_atomically(path.with_suffix(".safetensors"), save(ordered))
        write_atomically(path, (json.dumps(json.loads(to_json(head)), indent=1) + "\n").encode())


def recorded_rounds(directory: Path) -> list[int]:
    """Return which rounds of a run are recorded, ascending."""
    return sorted(
        int(path.stem.removeprefix("round-")) for path in (directory / UPDATES).glob("round-*.json")
    )


def load_round(directory: Path, server_round: int) -> RecordedRound:
    """Read what :func:`save_round` wrote.

    Raises
    ------
    RunError
        A file is damaged, or from another version.
    """
    path = path_of(directory, server_round)
    try:
        head = json.loads(path.read_text())
        if head["format"] != FORMAT:
            raise ValueError(f"it has format {head['format']}, this fedbal reads {FORMAT}")
        tensors = load_file(path.with_suffix(".safetensors"))
        cohort = {int(one["node"]): str(one["client"]) for one in head["cohort"]}
        blocks = blocks_of(list(cohort))
        clients = head["clients"]
        return RecordedRound(
            round=int(head["round"]),
            arrays={name: tensors[f"{GLOBAL}{name}"] for name in head["global"]},
            replies=[_reply(head, tensors, row, blocks) for row in range(len(clients))],
            cohort=cohort,
            replied=int(head["replied"]),
            dropped=head["dropped"],
            weights={one["node"]: one["weight"] for one in clients if one["weight"] is not None},
            state={name: tensors[f"{STATE}{name}"] for name in head["state"]},
            following=str(head["next"]),
            known={one["node"]: one["known"] for one in clients if one["known"]},
        )
    except RunError:
        raise
    except Exception as error:
        raise RunError(f"the recorded round {path} is damaged: {type(error).__name__}: {error}.") from error


def _client(recorded: RecordedRound, reply: ClientReply) -> dict[str, Any]:
    return {
        "node": reply.node,
        "client": recorded.cohort[reply.node],
        "num_examples": reply.num_examples,
        "metrics": dict(reply.metrics),
        "extras": {name: _plain(value) for name, value in reply.extras.items()},
        "known": dict(recorded.known.get(reply.node, {})),
        "weight": recorded.weights.get(reply.node),
    }


def _reply(head: Mapping[str, Any], tensors: Arrays, row: int, blocks: Mapping[int, int]) -> ClientReply:
    client = head["clients"][row]
    records = {
        record: {
            name: tensors[f"{REPLIES}{record}/{name}"][layout["rows"].index(row)] for name in layout["names"]
        }
        for record, layout in head["records"].items()
        if row in layout["rows"]
    }
    # A slice of an array without dimensions is a number.
    arrays = {name: np.asarray(value) for name, value in records.pop(ARRAYS).items()}
    return ClientReply(
        node=client["node"],
        num_examples=float(client["num_examples"]),
        arrays=arrays,
        metrics={name: math.nan if value is None else value for name, value in client["metrics"].items()},
        extras={name: _restored(value) for name, value in client["extras"].items()},
        records={
            record: {name: np.asarray(value) for name, value in own.items()}
            for record, own in records.items()
        },
        block=blocks[client["node"]],
    )


def _plain(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _restored(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value
