"""Client state: kept by the grid, outside workers, and committed only with a finished round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import RecordDict


class ClientStates:
    """State of the clients that have any, by node id.

    Writes of a round wait until :meth:`commit`; :meth:`rollback` forgets them, so that a repeated round
    starts from the state before it.
    """

    def __init__(self) -> None:
        self._committed: dict[int, RecordDict] = {}
        self._pending: dict[int, RecordDict] = {}

    def get(self, node: int) -> RecordDict:
        """Return the newest state of a client; empty if it has none."""
        if node in self._pending:
            return self._pending[node]
        return self._committed.get(node) or RecordDict()

    def present(self, nodes: Iterable[int]) -> dict[int, RecordDict]:
        """Return the newest state of those of the clients that have any."""
        if not (self._committed or self._pending):
            return {}
        return {node: state for node in nodes if len(state := self.get(node))}

    def put(self, node: int, state: RecordDict) -> None:
        """Write a client's state, to be committed with the round."""
        if len(state) or node in self._committed or node in self._pending:
            self._pending[node] = state

    def commit(self) -> None:
        """Make the round's writes permanent."""
        self._committed.update(self._pending)
        self._pending.clear()

    def rollback(self) -> None:
        """Forget the round's writes."""
        self._pending.clear()

    def snapshot(self) -> dict[int, RecordDict]:
        """Return all committed states."""
        return dict(self._committed)

    def restore(self, states: Mapping[int, RecordDict]) -> None:
        """Replace all states."""
        self._committed = dict(states)
        self._pending.clear()
