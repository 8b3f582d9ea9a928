"""Stable node ids over a grid of Flower's own: client k is node k + 2 whatever id Flower gave it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedbal import protocol
from fedbal.errors import RunError
from fedbal.grid.delegating import DelegatingGrid
from fedbal.grid.work import node_of

POLL_SECONDS = 0.1


class NamedGrid(DelegatingGrid):
    """Delegates to a Flower grid and translates its random node ids.

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    real : mapping
        Our node id to Flower's.
    """

    def __init__(self, grid: Grid, real: Mapping[int, int]) -> None:
        super().__init__(grid)
        self._real = dict(sorted(real.items()))
        self._waiting: dict[str, Message] = {}

    def get_node_ids(self) -> list[int]:
        """Return our node ids, ascending."""
        return list(self._real)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages on under Flower's node ids."""
        sent = list(messages)
        translated = [
            Message(
                message.content,
                self._real[message.metadata.dst_node_id],
                message.metadata.message_type,
                ttl=message.metadata.ttl,
                group_id=message.metadata.group_id,
            )
            for message in sent
        ]
        ids = list(self._grid.push_messages(translated))
        self._waiting.update(zip(ids, sent, strict=True))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies that have arrived, each as if it came from our node id.

        Errors made by the SuperLink carry its own node id; the message they reply to says whose they are.
        """
        replies = []
        for reply in self._grid.pull_messages(message_ids):
            sent = self._waiting.pop(reply.metadata.reply_to_message_id, None)
            if sent is None:
                continue
            if reply.has_error():
                replies.append(Message(reply.error, reply_to=sent))
            else:
                replies.append(Message(reply.content, reply_to=sent))
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages and wait for all replies, or until the timeout."""
        missing = set(self.push_messages(messages))
        deadline = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while missing:
            replies += self.pull_messages(missing)
            missing &= set(self._waiting)
            if deadline is not None and time.monotonic() > deadline:
                break
            if missing:
                time.sleep(POLL_SECONDS)
        for key in missing:
            self._waiting.pop(key, None)
        return sorted(replies, key=lambda reply: reply.metadata.src_node_id)


def discover(grid: Grid, keys: Sequence[str], wait: float = 60.0) -> NamedGrid:
    """Ask every connected node which client it is and return the grid under stable ids.

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    keys : sequence of str
        Client keys by client index.
    wait : float
        Seconds to wait for as many nodes as there are clients.

    Raises
    ------
    RunError
        Too few nodes, or a node that is no client of this scenario.
    """
    deadline = time.monotonic() + wait
    nodes = list(grid.get_node_ids())
    while len(nodes) < len(keys) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        nodes = list(grid.get_node_ids())
    if len(nodes) != len(keys):
        raise RunError(
            f"the scenario has {len(keys)} clients and {len(nodes)} SuperNodes are connected; start as many, in "
            f"simulation with --federation-config 'num-supernodes={len(keys)}'."
        )
    content = RecordDict({protocol.CONFIG: ConfigRecord({protocol.REQUESTS: []})})
    asked = [Message(content, node, MessageType.QUERY) for node in nodes]
    index = {key: client for client, key in enumerate(keys)}
    real: dict[int, int] = {}
    for reply in grid.send_and_receive(asked, timeout=wait):
        if reply.has_error():
            raise RunError(f"a node does not answer as a client: {reply.error.reason}")
        key = reply.content.config_records[protocol.REPLY][protocol.CLIENT_KEY]
        real[node_of(index[str(key)])] = reply.metadata.src_node_id
    if len(real) != len(keys):
        raise RunError(f"{len(real)} of {len(keys)} clients answered within {wait:g} s.")
    return NamedGrid(grid, real)
