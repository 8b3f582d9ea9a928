"""Ctrl-C and SIGTERM: the running round is dropped, what is being written is finished first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from fedbal.errors import FedbalError


class Interrupted(FedbalError):
    """A clean stop on a signal; the exit code is 128 plus the signal's number."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number
        self.exit_code = 128 + number


class StopRequested(BaseException):
    """A signal has arrived; no ``except Exception`` on the way, a client's least of all, may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Signals:
    """Turns SIGINT and SIGTERM into :class:`StopRequested`, outside shielded sections.

    One that leaves the context becomes :class:`Interrupted`. Only the main thread can receive signals;
    elsewhere this does nothing.
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
        if isinstance(error, StopRequested):
            raise Interrupted(f"{error} before the first round", error.number) from None

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
            raise StopRequested(number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._pending = number
        if not self._shielded:
            self.check()
