"""Client state: kept by the grid, outside workers, and committed only with a finished round."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.app import RecordDict

from fedbal.grid.segments import INDEX, Segments
from fedbal.protocol import num_bytes
from fedbal.records import from_bytes, to_bytes

LIMIT = 1 << 30
"""Bytes of state that stay in memory; the rest is on disk."""


@dataclass(frozen=True)
class SavedStates:
    """The states in a checkpoint, read client by client when they are needed.

    Attributes
    ----------
    directory : Path
        The checkpoint.
    """

    directory: Path


class ClientStates:
    """State of the clients that have any, by node id; clients without cost nothing.

    Writes of a round wait until :meth:`commit`; :meth:`rollback` forgets them, so that a repeated round
    starts from the state before it. Beyond ``limit`` the states that were not used for longest go to disk.

    Parameters
    ----------
    limit : int
        Bytes that stay in memory.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._pending: dict[int, RecordDict] = {}
        self._memory: OrderedDict[int, RecordDict] = OrderedDict()
        self._sizes: dict[int, int] = {}
        self._held = 0
        self._changed: set[int] = set()
        self._folder: Path | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._disk: Segments | None = None

    def keep_in(self, folder: Path) -> None:
        """Use a folder for what does not stay in memory; what an earlier process left there goes."""
        self.restore({})
        shutil.rmtree(folder, ignore_errors=True)
        self._folder = folder

    def get(self, node: int) -> RecordDict:
        """Return the newest state of a client; empty if it has none."""
        if node in self._pending:
            return self._pending[node]
        if node in self._memory:
            self._memory.move_to_end(node)
            return self._memory[node]
        if self._disk is None or node not in self._disk:
            return RecordDict()
        state = from_bytes(self._disk.read(node))
        self._hold(node, state)
        self._spill()
        return state

    def present(self, nodes: Iterable[int]) -> dict[int, RecordDict]:
        """Return the newest state of those of the clients that have any."""
        if not (self._memory or self._pending or self._disk):
            return {}
        return {node: state for node in nodes if len(state := self.get(node))}

    def put(self, node: int, state: RecordDict) -> None:
        """Write a client's state, to be committed with the round."""
        if len(state) or node in self._pending or self._has(node):
            self._pending[node] = state

    def commit(self) -> None:
        """Make the round's writes permanent."""
        for node, state in self._pending.items():
            self._hold(node, state)
            self._changed.add(node)
        self._pending.clear()
        self._spill()

    def rollback(self) -> None:
        """Forget the round's writes."""
        self._pending.clear()

    def save(self, directory: Path) -> None:
        """Put all committed states into a checkpoint; of those, only what has changed since the last is written."""
        if self._changed:
            self._write()
        if self._disk is not None:
            self._disk.save(directory)

    def restore(self, states: Mapping[int, RecordDict] | SavedStates | ClientStates) -> None:
        """Replace all states."""
        if states is self:
            return
        self.close()
        if isinstance(states, SavedStates):
            if (states.directory / INDEX).is_file():
                self._open().restore(states.directory)
        elif isinstance(states, Mapping):
            self._pending = dict(states)
            self.commit()

    def close(self) -> None:
        """Forget everything, and remove it from the disk."""
        for kept in (self._pending, self._memory, self._sizes, self._changed):
            kept.clear()
        self._held = 0
        self._disk = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _has(self, node: int) -> bool:
        return node in self._memory or (self._disk is not None and node in self._disk)

    def _hold(self, node: int, state: RecordDict) -> None:
        size = num_bytes(state)
        self._held += size - self._sizes.get(node, 0)
        self._sizes[node] = size
        self._memory[node] = state
        self._memory.move_to_end(node)

    def _spill(self) -> None:
        """Let states go that were not used for longest, to half the limit: each time costs a file."""
        if self._held <= self._limit:
            return
        if self._changed:
            self._write()
        while self._held > self._limit // 2 and self._memory:
            node, _ = self._memory.popitem(last=False)
            self._held -= self._sizes.pop(node)

    def _write(self) -> None:
        self._open().write((node, to_bytes(self._memory[node])) for node in sorted(self._changed))
        self._changed.clear()

    def _open(self) -> Segments:
        if self._disk is None:
            if self._folder is None and self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="fedbal-states-")
            folder = self._folder or Path(self._temporary.name if self._temporary else "")
            self._disk = Segments(folder)
        return self._disk
