"""One client's work as it travels to where it is done, and what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flwr.app import ArrayRecord, Context, Error, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp

from clients.app import TrainingApp
from clients.jobs import TrainReply, to_content
from clients.memory import OUT_OF_MEMORY, DeviceFull
from fedbal.grid import flower
from fedbal.protocol import CLIENT_KEY, copy_content

CLIENT_CRASHED = 8
NO_REPLY = 2
TRAIN = MessageType.TRAIN


@dataclass(frozen=True)
class Task:
    """One message without its heavy arrays.

    Attributes
    ----------
    node : int
        Node id of the client.
    kind : str
        Message type.
    content : RecordDict
        Everything but the array records.
    arrays : tuple of (str, int)
        Record name and index of the shared payload that belongs under it.
    state : RecordDict
        The client's state before this message.
    """

    node: int
    kind: str
    content: RecordDict
    arrays: tuple[tuple[str, int], ...]
    state: RecordDict


@dataclass(frozen=True)
class Outcome:
    """What a client answered.

    Attributes
    ----------
    node : int
        Node id of the client.
    content : RecordDict, optional
        The reply's content; None if ``error`` is set.
    error : tuple of (int, str), optional
        Flower error code and reason.
    state : RecordDict
        The client's state after the message; after an error the one before it.
    seconds : float
        Wall time.
    reduced : int, optional
        Clients that the worker trains at once since its device was full; None: it never was.
    parted : str, optional
        What to say about clients that could not be trained at once.
    """

    node: int
    content: RecordDict | None
    error: tuple[int, str] | None
    state: RecordDict
    seconds: float
    reduced: int | None = None
    parted: str | None = None


FIRST_NODE = 2
"""Node id of client 0; 1 is the server."""


def node_of(client: int) -> int:
    """Return the node id of a client index."""
    return client + FIRST_NODE


def client_of(node: int) -> int:
    """Return the client index of a node id."""
    return node - FIRST_NODE


@dataclass(frozen=True)
class NodeDirectory:
    """Which client stands behind a node id: client k is node k + 2 (1 is the server).

    Attributes
    ----------
    num_clients : int
        Clients in the population, those without data included.
    key_of : callable
        Client index to its stable key.
    """

    num_clients: int
    key_of: Callable[[int], str] = str

    def node(self, client: int) -> int:
        """Return the node id of a client index."""
        return node_of(client)

    def client(self, node: int) -> int:
        """Return the client index of a node id."""
        return client_of(node)

    def config(self, node: int) -> dict[str, str | int | float | bool]:
        """Return the client's node config."""
        client = self.client(node)
        return {
            "partition-id": client,
            "num-partitions": self.num_clients,
            CLIENT_KEY: self.key_of(client),
        }


@dataclass
class Runner:
    """Runs clients one after the other; the same code in process and in a Ray worker."""

    app: ClientApp
    directory: NodeDirectory
    run_config: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def run(self, task: Task, payloads: Mapping[int, ArrayRecord]) -> Outcome:
        """Call the ClientApp on one message.

        Whatever the client raises becomes an error reply; its state is then the one before the message.

        Raises
        ------
        DeviceFull
            The device has no memory for the client.
        """
        started = time.perf_counter()
        context = self._context(task)
        try:
            reply = self.app(Message(self._content(task, payloads), task.node, task.kind), context)
            if not isinstance(reply, Message):
                raise TypeError(f"a client function must return a Message, got {type(reply).__name__}")
        except KeyboardInterrupt:
            raise
        except SystemExit as error:
            return self._failed(task, (CLIENT_CRASHED, f"the client exited: {error}"), started)
        except Exception as error:
            return self._failed(task, (NO_REPLY, f"{type(error).__name__}: {error}"), started)
        if reply.has_error():
            failure: Error = reply.error
            if failure.code == OUT_OF_MEMORY:
                raise DeviceFull(failure.reason or "")
            return self._failed(task, (failure.code, failure.reason or ""), started)
        return Outcome(task.node, reply.content, None, context.state, time.perf_counter() - started)

    def run_chunk(self, tasks: Sequence[Task], payloads: Mapping[int, ArrayRecord]) -> list[Outcome]:
        """Answer the messages of a chunk: train its clients at once where the ClientApp can, else one by one.

        What one client raises is its own error reply, its state then the one before the message.
        """
        app = self.app
        if not isinstance(app, TrainingApp) or not app.engine.together or any(t.kind != TRAIN for t in tasks):
            return [self.run(task, payloads) for task in tasks]
        started = time.perf_counter()
        asked = [(self._content(task, payloads), self._context(task)) for task in tasks]
        outcomes = []
        for task, (_, context), answer in zip(tasks, asked, app.train_chunk(asked), strict=True):
            outcomes.append(self._outcome(task, context, answer, started))
        told: dict[str, Any] = {
            "seconds": (time.perf_counter() - started) / len(tasks),
            "reduced": app.memory.chunk,
            "parted": app.memory.parted,
        }
        return [replace(outcome, **told) for outcome in outcomes]

    def _outcome(
        self, task: Task, context: Context, answer: TrainReply | Exception | SystemExit, started: float
    ) -> Outcome:
        if isinstance(answer, TrainReply):
            return Outcome(task.node, to_content(answer), None, context.state, 0.0)
        if isinstance(answer, SystemExit):
            return self._failed(task, (CLIENT_CRASHED, f"the client exited: {answer}"), started)
        return self._failed(task, (NO_REPLY, f"{type(answer).__name__}: {answer}"), started)

    def _context(self, task: Task) -> Context:
        config = self.directory.config(task.node)
        return Context(flower.RUN_ID, task.node, config, copy_content(task.state), dict(self.run_config))

    def _content(self, task: Task, payloads: Mapping[int, ArrayRecord]) -> RecordDict:
        content = copy_content(task.content)
        for name, index in task.arrays:
            content[name] = payloads[index].copy()
        return content

    def _failed(self, task: Task, error: tuple[int, str], started: float) -> Outcome:
        return Outcome(task.node, None, error, task.state, time.perf_counter() - started)
