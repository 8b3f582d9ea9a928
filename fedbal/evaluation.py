"""Evaluation of the global model: on the test set here, on clients through messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from torch import nn

from clients.data import Split
from clients.training import evaluate
from fedbal import protocol
from fedbal.fairness import ClientScore
from fedbal.metrics import Confusion, classification_report
from fedbal.protocol import Arrays


@dataclass(frozen=True)
class GlobalTest:
    """The global test set and the model to evaluate on it.

    Attributes
    ----------
    model : nn.Module
        The model's structure.
    split : Split
        Test rows.
    num_classes : int
        Classes of the task.
    """

    model: nn.Module
    split: Split
    num_classes: int

    def __call__(self, arrays: Arrays) -> dict[str, Any]:
        """Return the metrics of a global model, the ``test`` object of a round."""
        device = self.split.pool.device
        state = {name: torch.from_numpy(value).to(device) for name, value in arrays.items()}
        matrix, loss = evaluate(self.model, state, self.split, self.num_classes)
        return dict(classification_report(Confusion(matrix, loss)))


def evaluate_on_clients(
    grid: Grid, nodes: Sequence[int], arrays: ArrayRecord, server_round: int, timeout: float | None
) -> tuple[dict[int, ClientScore], list[Message]]:
    """Ask clients to evaluate a model on their own test share.

    Returns
    -------
    tuple of (dict, list of Message)
        Node id to score, of the clients that answered properly, and all replies.
    """
    config = ConfigRecord({protocol.SERVER_ROUND: server_round})
    content = RecordDict({protocol.ARRAYS: arrays, protocol.CONFIG: config})
    group = str(server_round)
    messages = [Message(content, node, MessageType.EVALUATE, group_id=group) for node in nodes]
    replies = list(grid.send_and_receive(messages, timeout=timeout))
    scored = {reply.metadata.src_node_id: _score(reply) for reply in replies}
    return {node: score for node, score in sorted(scored.items()) if score is not None}, replies


def _score(reply: Message) -> ClientScore | None:
    if reply.has_error():
        return None
    metrics = protocol.metrics_of(reply.content)
    values = [metrics.get(key) for key in (protocol.NUM_EXAMPLES, protocol.CORRECT, protocol.LOSS)]
    samples, correct, loss = (value if isinstance(value, int | float) else -1 for value in values)
    if not 0 <= correct <= samples:
        return None
    return ClientScore(int(samples), int(correct), float(loss))
