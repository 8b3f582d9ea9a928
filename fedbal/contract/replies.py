"""Replies as clients would send them, for checks of rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedbal import protocol
from fedbal.grid.inprocess import InProcessGrid
from fedbal.grid.work import NodeDirectory
from fedbal.protocol import Arrays, to_record

MODEL: Arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(3, np.int64)}
"""A model with a float matrix and an integer counter."""


ANSWERS: dict[str, Any] = {
    protocol.NORMALISED_STEPS: [5.0],
    protocol.SCORE: [0.5],
    protocol.RECEIVED_LOSS: [0.5],
    protocol.INEXACTNESS: [0.5],
}
"""What shipped client updates answer to rules that ask for more than label counts."""


def model(shift: float) -> Arrays:
    """Return :data:`MODEL` with its floats moved by ``shift``."""
    return {"w": MODEL["w"] + np.float32(shift), "steps": MODEL["steps"]}


def reply_to(
    message: Message,
    arrays: Any,
    samples: Any,
    server_round: int = 1,
    counts: Sequence[Any] = (3, 1),
    **more: Any,
) -> Message:
    """Answer with a model (named arrays or a record), a number of samples, label counts and further extras."""
    record = arrays if isinstance(arrays, ArrayRecord) else to_record(arrays)
    content = RecordDict(
        {
            protocol.ARRAYS: record,
            protocol.METRICS: MetricRecord({protocol.NUM_EXAMPLES: samples, protocol.TRAIN_LOSS: 1.0}),
            protocol.REPLY: ConfigRecord({protocol.BASE_VERSION: server_round}),
            protocol.EXTRAS: ConfigRecord({**ANSWERS, protocol.LABEL_COUNTS: list(counts), **more}),
        }
    )
    return Message(content, reply_to=message)


def error_reply(message: Message) -> Message:
    """Answer with a client's failure."""
    return Message(Error(2, "RuntimeError: boom"), reply_to=message)


def grid_of(nodes: Iterable[int]) -> Grid:
    """Return a grid that knows these nodes."""
    known = list(nodes)
    return InProcessGrid(ClientApp(), NodeDirectory(len(known)), known)


def ask(strategy: Strategy, nodes: Iterable[int] = (2, 3, 4), server_round: int = 1) -> list[Message]:
    """Return the training messages with which a strategy sends :data:`MODEL` to these nodes."""
    record = to_record(MODEL)
    return list(strategy.configure_train(server_round, record, ConfigRecord(), grid_of(nodes)))
