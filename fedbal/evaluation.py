"""Evaluation: the global model on the test set here, received and personal models on clients through messages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray
from torch import nn

from clients.data import Split
from clients.training import predict
from fedbal import protocol
from fedbal.groups import ClassGroups
from fedbal.measures.base import Evaluated, Measures
from fedbal.protocol import Arrays

Predictions = list[tuple[NDArray[np.float32], NDArray[np.int64]]]
"""Logits and targets of a split, batch by batch."""


@dataclass(frozen=True)
class GlobalTest:
    """The global test set and the model to evaluate on it.

    Attributes
    ----------
    model : nn.Module
        The model's structure.
    split : Split
        Test rows.
    measures : Measures
        What is measured on the task.
    groups : ClassGroups, optional
        Many, medium and few, by the global training counts; classification only.
    posthoc : float, optional
        Strength of a post-hoc logit adjustment to report beside the model's own predictions.
    scorer : callable, optional
        Who predicts the test rows with a model; None: this process does.
    """

    model: nn.Module
    split: Split
    measures: Measures[Any]
    groups: ClassGroups | None = None
    posthoc: float | None = None
    scorer: Callable[[Arrays], Predictions] | None = None

    def __call__(self, arrays: Arrays) -> dict[str, Any]:
        """Return the metrics of a global model, the ``test`` object of a round."""
        if self.scorer is not None:
            # What Ray hands over is read-only, and torch would warn.
            found = ((_writable(logits), _writable(truth)) for logits, truth in self.scorer(arrays))
            return self.measures.test(found, self.groups, self.posthoc)
        state = _tensors(arrays, self.split.pool.device)
        return self.measures.test(predict(self.model, state, self.split), self.groups, self.posthoc)


def score(model: nn.Module, arrays: Arrays, split: Split) -> Predictions:
    """Predict a split in order, on the device where its rows are.

    Parameters
    ----------
    model : nn.Module
        Structure, and the tensors that ``arrays`` lacks; on the same device.
    arrays : Arrays
        The model's tensors.
    split : Split
        Rows.
    """
    # On a device everything waits there until the last batch.
    found = list(predict(model, _tensors(arrays, split.pool.device), split))
    return [(logits.cpu().numpy(), truth.cpu().numpy()) for logits, truth in found]


def _tensors(arrays: Arrays, device: torch.device) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value).to(device) for name, value in arrays.items()}


def _writable(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.require(array, requirements="W"))


def evaluate_on_clients(
    grid: Grid,
    nodes: Sequence[int],
    arrays: ArrayRecord,
    server_round: int,
    measures: Measures[Any],
    timeout: float | None,
    preprocess: ArrayRecord | None = None,
    class_counts: Sequence[int] = (),
) -> tuple[dict[int, Evaluated], list[Message]]:
    """Ask clients by message to evaluate a model, and their own if they have one, on their own test share.

    Returns
    -------
    tuple of (dict, list of Message)
        Node id to scores, of the clients that answered properly, and all replies.
    """
    content = evaluation_content(arrays, server_round, preprocess, class_counts)
    group = str(server_round)
    messages = [Message(content, node, MessageType.EVALUATE, group_id=group) for node in nodes]
    replies = list(grid.send_and_receive(messages, timeout=timeout))
    return read_evaluations(replies, measures), replies


def read_evaluations(replies: Sequence[Message], measures: Measures[Any]) -> dict[int, Evaluated]:
    """Return node id to scores, ascending, of the clients that answered an evaluation properly."""
    answered = [reply for reply in replies if not reply.has_error()]
    scored = {reply.metadata.src_node_id: measures.read(reply.content) for reply in answered}
    return {node: score for node, score in sorted(scored.items()) if score is not None}


def evaluation_content(
    arrays: ArrayRecord,
    server_round: int,
    preprocess: ArrayRecord | None = None,
    class_counts: Sequence[int] = (),
) -> RecordDict:
    """Return what clients are told that evaluate a model; class counts for a loss that reads those of everyone."""
    config = ConfigRecord({protocol.SERVER_ROUND: server_round})
    if class_counts:
        config[protocol.CLASS_COUNTS] = list(class_counts)
    content = RecordDict({protocol.ARRAYS: arrays, protocol.CONFIG: config})
    if preprocess is not None:
        content[protocol.PREPROCESS] = preprocess
    return content


def client_columns(
    asked: Collection[int],
    scores: Mapping[int, Evaluated],
    unseen: Collection[int],
    min_samples: int,
    model_round: int,
    measures: Measures[Any],
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
    measures : Measures
        What is measured on the task.

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
        name: {"model_round": model_round, **measures.spread(rows, min_samples)} if wanted else None
        for name, (rows, wanted) in columns.items()
    }
