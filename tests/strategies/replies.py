"""Replies as clients would send them, for tests of rules."""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from fedbal.grid.inprocess import InProcessGrid
from fedbal.protocol import to_record

MODEL = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(3, np.int64)}


def model(shift: float) -> dict:
    return {"w": MODEL["w"] + np.float32(shift), "steps": MODEL["steps"]}


def reply_to(message: Message, arrays, samples, server_round=1, counts=(3, 1), **more) -> Message:
    record = arrays if isinstance(arrays, ArrayRecord) else to_record(arrays)
    content = RecordDict(
        {
            "arrays": record,
            "metrics": MetricRecord({"num-examples": samples, "train-loss": 1.0}),
            "reply": ConfigRecord({"base-version": server_round}),
            "extras": ConfigRecord({"label-counts": list(counts), **more}),
        }
    )
    return Message(content, reply_to=message)


def error_reply(message: Message) -> Message:
    return Message(Error(2, "RuntimeError: boom"), reply_to=message)


def raw_array(dtype: str, shape: tuple, data: bytes) -> Array:
    return Array(dtype=dtype, shape=shape, stype="numpy.ndarray", data=data)


class Nobody:
    """An app that is never called."""

    def __call__(self, message, context):
        raise AssertionError


def grid_of(nodes) -> Grid:
    from fedbal.grid.work import NodeDirectory

    return InProcessGrid(Nobody(), NodeDirectory(len(nodes)), list(nodes))


def ask(strategy, nodes=(2, 3, 4), server_round=1) -> list[Message]:
    return list(strategy.configure_train(server_round, to_record(MODEL), ConfigRecord(), grid_of(nodes)))
