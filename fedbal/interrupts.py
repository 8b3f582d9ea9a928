"""Ctrl-C and SIGTERM: the running round is dropped, what is being written is finished first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fedbal.errors import FedbalError


class Interrupted(FedbalError):
    """A clean stop on a signal; the exit code is 128 plus the signal's number."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number
        self.exit_code = 128 + number


class Signals:
    """Turns SIGINT and SIGTERM into :class:`Interrupted`, outside shielded sections.

    Only the main thread can receive signals; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self._pending: int | None = None
        self._shielded = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Let nothing interrupt the block; a signal that came meanwhile is raised at its end."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        self.check()

    def check(self) -> None:
        """Raise if a signal has arrived."""
        if self._pending is not None:
            number, self._pending = self._pending, None
            raise Interrupted(f"stopped by {signal.Signals(number).name}", number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._pending = number
        if not self._shielded:
            self.check()
