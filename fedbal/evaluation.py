"""Evaluation: the global model on the test set here, received and personal models on clients through messages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray
from torch import nn

from clients.data import Split
from clients.training import predict
from fedbal import protocol
from fedbal.fairness import ClientScore, client_spread
from fedbal.groups import ClassGroups
from fedbal.metrics import Confusion
from fedbal.posthoc import posthoc_numbers
from fedbal.protocol import Arrays
from fedbal.views import global_numbers


class Scores(NamedTuple):
    """What a model predicts for n rows."""

    logits: NDArray[np.float32]
    """(n, C)."""
    truth: NDArray[np.int64]
    """(n,)."""
    loss: float
    """Sum of the cross-entropies."""


@dataclass(frozen=True)
class GlobalTest:
    """The global test set and the model to evaluate on it.

    Attributes
    ----------
    model : nn.Module
        The model's structure.
    split : Split
        Test rows.
    groups : ClassGroups
        Many, medium and few, by the global training counts.
    posthoc : float, optional
        Strength of a post-hoc logit adjustment to report beside the model's own predictions.
    scorer : callable, optional
        Who predicts the test rows with a model; None: this process does.
    """

    model: nn.Module
    split: Split
    groups: ClassGroups
    posthoc: float | None = None
    scorer: Callable[[Arrays], Scores] | None = None

    def __call__(self, arrays: Arrays) -> dict[str, Any]:
        """Return the metrics of a global model, the ``test`` object of a round."""
        classes = len(self.groups.counts)
        scorer = self.scorer or partial(score, self.model, split=self.split, classes=classes)
        found = scorer(arrays)
        # What Ray hands over is read-only, and torch would warn.
        logits = np.require(found.logits, requirements="W")
        truth = np.require(found.truth, requirements="W")
        predicted = torch.from_numpy(logits).argmax(1)
        confusion = Confusion.of(torch.from_numpy(truth), predicted, classes, found.loss)
        numbers = global_numbers(confusion, logits, truth, self.groups)
        if self.posthoc is not None:
            numbers["posthoc"] = posthoc_numbers(logits, truth, self.groups, self.posthoc)
        return numbers


def score(model: nn.Module, arrays: Arrays, split: Split, classes: int) -> Scores:
    """Predict a split in order, on the device where its rows are.

    Parameters
    ----------
    model : nn.Module
        Structure, and the tensors that ``arrays`` lacks; on the same device.
    arrays : Arrays
        The model's tensors.
    split : Split
        Rows.
    classes : int
        Classes of the task.
    """
    device = split.pool.device
    state = {name: torch.from_numpy(value).to(device) for name, value in arrays.items()}
    logits, truth = torch.empty((0, classes)), torch.empty(0, dtype=torch.int64)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    parts = []
    for scores, labels in predict(model, state, split):
        loss += nn.functional.cross_entropy(scores, labels, reduction="sum").to(torch.float64)
        parts.append((scores, labels))
    if parts:
        # On a device everything waits there until here.
        logits, truth = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return Scores(logits.numpy(), truth.numpy(), float(loss))


class Evaluated(NamedTuple):
    """What one client's evaluation came to."""

    received: ClientScore
    """The model it received."""
    personal: ClientScore | None
    """Its own, if its update makes one."""


def evaluate_on_clients(
    grid: Grid,
    nodes: Sequence[int],
    arrays: ArrayRecord,
    server_round: int,
    num_classes: int,
    timeout: float | None,
    preprocess: ArrayRecord | None = None,
) -> tuple[dict[int, Evaluated], list[Message]]:
    """Ask clients to evaluate a model, and their own if they have one, on their own test share.

    Returns
    -------
    tuple of (dict, list of Message)
        Node id to scores, of the clients that answered properly, and all replies.
    """
    config = ConfigRecord({protocol.SERVER_ROUND: server_round})
    content = RecordDict({protocol.ARRAYS: arrays, protocol.CONFIG: config})
    if preprocess is not None:
        content[protocol.PREPROCESS] = preprocess
    group = str(server_round)
    messages = [Message(content, node, MessageType.EVALUATE, group_id=group) for node in nodes]
    replies = list(grid.send_and_receive(messages, timeout=timeout))
    scored = {reply.metadata.src_node_id: _evaluated(reply, num_classes) for reply in replies}
    return {node: score for node, score in sorted(scored.items()) if score is not None}, replies


def client_columns(
    asked: Collection[int],
    scores: Mapping[int, Evaluated],
    unseen: Collection[int],
    min_samples: int,
    model_round: int,
) -> dict[str, dict[str, Any] | None]:
    """Return the client view of a round: ``fairness``, ``personal`` and ``unseen``.

    Parameters
    ----------
    asked : collection of int
        Node ids of the clients that were asked.
    scores : mapping
        Node id to scores, of those that answered.
    unseen : collection of int
        Node ids of the clients that never train.
    min_samples : int
        Clients with fewer test samples are left out of the spread.
    model_round : int
        Round after which the evaluated model was made.

    Returns
    -------
    dict
        Spreads over the clients that train (the received model, and their own models), and over those that never
        do; None where no such client was asked, ``personal`` where none has a model of its own.
    """
    seen = [score for node, score in scores.items() if node not in unseen]
    personal = [score.personal for score in seen if score.personal is not None]
    columns = {
        "fairness": ([score.received for score in seen], any(node not in unseen for node in asked)),
        "personal": (personal, bool(personal)),
        "unseen": (
            [score.received for node, score in scores.items() if node in unseen],
            any(node in unseen for node in asked),
        ),
    }
    return {
        name: {"model_round": model_round, **client_spread(rows, min_samples)} if wanted else None
        for name, (rows, wanted) in columns.items()
    }


def _evaluated(reply: Message, num_classes: int) -> Evaluated | None:
    """Decode a reply; None for one that contradicts itself."""
    if reply.has_error():
        return None
    metrics = protocol.metrics_of(reply.content)
    values = [metrics.get(key) for key in (protocol.NUM_EXAMPLES, protocol.CORRECT, protocol.LOSS)]
    samples, correct, loss = (value if isinstance(value, int | float) else -1 for value in values)
    if not 0 <= correct <= samples:
        return None
    extras = reply.content.config_records.get(protocol.EXTRAS, ConfigRecord())
    try:
        confusion = _confusion(extras.get(protocol.CONFUSION), num_classes, int(samples))
        own = _confusion(extras.get(protocol.PERSONAL + protocol.CONFUSION), num_classes, int(samples))
    except (ValueError, TypeError):
        return None
    if confusion is not None and int(np.trace(confusion)) != correct:
        return None
    received = ClientScore(int(samples), int(correct), float(loss), confusion)
    if own is None:
        return Evaluated(received, None)
    own_loss = extras.get(protocol.PERSONAL + protocol.LOSS)
    measured = float(own_loss) if isinstance(own_loss, int | float) else float("nan")
    return Evaluated(received, ClientScore(int(samples), int(np.trace(own)), measured, own))


def _confusion(pairs: object, num_classes: int, samples: int) -> NDArray[np.int64] | None:
    """Decode (cell, count) pairs; raises ``ValueError`` for cells or counts that cannot be."""
    if pairs is None:
        return None
    cells, counts = np.asarray(pairs, np.int64).reshape(-1, 2).T
    if (counts < 0).any() or counts.sum() != samples:
        raise ValueError(f"confusion counts must be >= 0 and sum to {samples}")
    if ((cells < 0) | (cells >= num_classes**2)).any():
        raise ValueError(f"confusion cells must be in 0 .. {num_classes**2 - 1}")
    matrix = np.zeros(num_classes**2, np.int64)
    np.add.at(matrix, cells, counts)
    return matrix.reshape(num_classes, num_classes)
