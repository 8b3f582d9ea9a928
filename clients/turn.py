"""Whose turn it is among threads that train clients: Python runs for one at a time, kernels for all.

Left to itself, Python takes its lock from a thread whenever that calls a kernel, however short, and gives it back
up to five milliseconds later: whoever has prepared his clients then waits until everybody has. In turns, the first
trains while the second prepares.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Turn:
    """One worker's share of a lock, which it has while it prepares or gathers clients and lends while it trains."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._mine = False

    def join(self, other: Turn) -> None:
        """Take turns with another worker."""
        self._lock = other._lock

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Do what follows in this worker's turn."""
        with self._lock:
            self._mine = True
            try:
                yield
            finally:
                self._mine = False

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let others have their turn meanwhile; outside of a turn nothing happens."""
        if not self._mine:
            yield
            return
        self._mine = False
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
            self._mine = True
