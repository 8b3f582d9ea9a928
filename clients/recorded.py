"""Steps that come again and again are recorded once as a plain list of kernels and replayed from then on.

Most of a small step is spent in Python, deciding which kernels to call. A recording calls the same kernels in the
same order on tensors of the same shapes, so its numbers are the same bits; it only takes half the time or less.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from torch.fx.experimental.proxy_tensor import make_fx

CALLS_BEFORE = 48
"""Calls of a step of the same shapes before it is recorded, which takes as long as some hundred calls."""
MOST = 128
"""Recordings kept; a run with more shapes than that goes on without."""

Step = Callable[..., Any]


class Recorder:
    """Keeps recordings of pure functions of tensors by the shapes of their arguments."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, int] = {}
        self._steps: dict[Hashable, Step | None] = {}

    @property
    def recordings(self) -> int:
        """Steps recorded so far."""
        return sum(step is not None for step in self._steps.values())

    def run(self, key: Hashable, step: Step, arguments: tuple[Any, ...]) -> Any:
        """Return ``step(*arguments)``.

        Parameters
        ----------
        key : hashable
            Whatever decides which kernels are called: the function, and shapes and layouts of the arguments.
        step : callable
            Pure; takes and returns pytrees of tensors.
        arguments : tuple
            Its arguments.
        """
        recorded = self._steps.get(key)
        if recorded is not None:
            return recorded(*arguments)
        if key in self._steps:
            return step(*arguments)
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        if calls > CALLS_BEFORE:
            self._steps[key] = self._record(step, arguments)
        return step(*arguments)

    def _record(self, step: Step, arguments: tuple[Any, ...]) -> Step | None:
        if len(self._steps) >= MOST:
            return None
        try:
            return make_fx(step)(*arguments)
        except Exception:
            # A user's loss may do what cannot be recorded; its step goes on as it is.
            return None
