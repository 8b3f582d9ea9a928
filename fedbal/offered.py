"""A grid that offers a strategy exactly the cohort of a round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedbal.grid.flower import Run


class OfferedGrid(Grid):
    """Delegates to another grid but knows only some of its nodes.

    Strategies that sample by themselves, Flower's own among them, thus work on the seeded cohort.

    Parameters
    ----------
    grid : Grid
        The grid behind it.
    nodes : sequence of int
        The cohort.
    """

    def __init__(self, grid: Grid, nodes: Sequence[int]) -> None:
        self._grid = grid
        self._nodes = list(nodes)

    def set_run(self, run: Run) -> None:
        """Set the run record."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The run record."""
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message."""
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> list[int]:
        """Return the cohort."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Push messages."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pull replies."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push messages and wait for their replies."""
        return self._grid.send_and_receive(messages, timeout=timeout)
