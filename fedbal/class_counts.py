"""How many training samples of each class all clients have together, asked of them once before round 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedbal import protocol


@dataclass(frozen=True)
class ClassCounts:
    """The sum, and what it cost.

    Attributes
    ----------
    counts : list of int
        Samples of each class over the clients that answered.
    bytes_up, bytes_down : int
        Bytes of the answers and of the questions.
    missing : dict
        Node id to the reason why its answer does not count.
    """

    counts: list[int]
    bytes_up: int = 0
    bytes_down: int = 0
    missing: dict[int, str] = field(default_factory=dict)


def ask_class_counts(
    grid: Grid, nodes: Sequence[int], num_classes: int, timeout: float | None = None
) -> ClassCounts:
    """Ask every client for its label counts and add them up.

    Parameters
    ----------
    grid : Grid
        Where messages go.
    nodes : sequence of int
        Node ids of the clients that train.
    num_classes : int
        Classes of the task.
    timeout : float, optional
        Seconds to wait for answers.
    """
    config = ConfigRecord({protocol.SERVER_ROUND: 0, protocol.REQUESTS: [protocol.LABEL_COUNTS]})
    content = RecordDict({protocol.ARRAYS: ArrayRecord(), protocol.CONFIG: config})
    messages = [Message(content, node, MessageType.QUERY, group_id="0") for node in nodes]
    replies = {
        reply.metadata.src_node_id: reply for reply in grid.send_and_receive(messages, timeout=timeout)
    }
    total, size = np.zeros(num_classes, np.int64), 0
    missing: dict[int, str] = {}
    for node in nodes:
        reply = replies.get(node)
        if reply is None or reply.has_error():
            missing[node] = "no reply" if reply is None else str(reply.error.reason)
            continue
        size += protocol.num_bytes(reply.content)
        extras = reply.content.config_records.get(protocol.EXTRAS, ConfigRecord())
        counts = extras.get(protocol.LABEL_COUNTS)
        if not _are_counts(counts, num_classes):
            missing[node] = (
                f"{protocol.LABEL_COUNTS} must be {num_classes} whole numbers >= 0, got {counts!r}"
            )
            continue
        total += np.asarray(counts, np.int64)
    down = sum(protocol.num_bytes(message.content) for message in messages)
    return ClassCounts(total.tolist(), size, down, missing)


def _are_counts(value: object, num_classes: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == num_classes
        and all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in value)
    )
