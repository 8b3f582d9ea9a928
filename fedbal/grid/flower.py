"""The only module that touches parts of Flower outside its public API.

Checked against flwr 1.41 by ``tests/grid/test_flower.py``, which fails when one of them moves:
``TaskIdentity`` (a ``Message`` can only be made where it is set), ``Run`` (a grid must return one) and the
message id (set by the SuperLink, which an in-process grid replaces).
"""

from __future__ import annotations

from flwr.app import Message
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1
SERVER_NODE_ID = 1

__all__ = ["RUN_ID", "SERVER_NODE_ID", "Run", "become", "empty_run", "set_message_id"]


def become(node_id: int = SERVER_NODE_ID) -> None:
    """Take part in the run as ``node_id``, so that this process can make messages."""
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = node_id
    TaskIdentity.task_id = node_id


def empty_run() -> Run:
    """Return the record of a run that no SuperLink knows."""
    return Run.create_empty(RUN_ID)


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message its id, by which its reply refers to it."""
    message.metadata.__dict__["_message_id"] = message_id
