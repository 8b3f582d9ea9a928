"""The only module that touches parts of Flower outside its public API.

Checked against flwr 1.41 by ``tests/grid/test_flower.py``, which fails when one of them moves:
``TaskIdentity`` (a ``Message`` can only be made where it is set), ``Run`` (a grid must return one) and the
message id (set by the SuperLink, which an in-process grid replaces). A SuperNode's pause between two looks for a
message is a constant inside a function; :func:`look_often` shortens it.
"""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

from flwr.app import Message
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1
SERVER_NODE_ID = 1

__all__ = ["RUN_ID", "SERVER_NODE_ID", "Run", "become", "empty_run", "look_often", "set_message_id"]


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


def look_often(seconds: float) -> None:
    """Let the SuperNode of this process look for messages every so many seconds, instead of every three."""
    from flwr.supernode import start_client_internal

    start_client_internal.time = _Impatient(seconds)  # type: ignore[attr-defined]


class _Impatient(ModuleType):
    """The time module, but nobody sleeps long."""

    def __init__(self, longest: float) -> None:
        super().__init__("time")
        self._longest = longest

    def sleep(self, seconds: float) -> None:
        """Sleep, at most so long."""
        time.sleep(min(seconds, self._longest))

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
