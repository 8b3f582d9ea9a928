"""Steps that come again and again are recorded once as a plain list of kernels; from then on many run as one call.

Most of a small step is spent in Python and in building the graph of its gradient, deciding which kernels to call.
A recording calls the same kernels in the same order on tensors of the same shapes, so its numbers are the same
bits; torch's interpreter runs it in a third of the time, without Python's lock, so that threads train side by side.
It is made by watching one step, and kept only if its first replay gives that step's bits.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from clients.optimizers import Optimizer
from clients.purity import ours
from clients.tape import RATE, Tape
from fedbal.errors import RunError

CALLS_BEFORE = 10
"""Steps of the same shapes before one is recorded, which takes as long as some ten of them."""
MOST = 512
"""Recordings kept; a run with more shapes than that goes on without."""

DEAF_SECONDS = 0.5
"""Longest time that recorded steps run without a look at whether the run is to end."""

Step = Callable[[Optimizer, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], None]
"""One local step: ``step(optimizer, moving, inputs, fixed)`` changes ``moving`` in place and nothing else."""


class Recorder:
    """Keeps recordings of local steps, in families of the same step."""

    def __init__(self) -> None:
        self._families: dict[Hashable, Family] = {}
        self._leaving = False

    def leave(self) -> None:
        """End training soon; another thread may say so."""
        self._leaving = True

    def require_time(self) -> None:
        """Raise a RunError if training is to end."""
        if self._leaving:
            raise RunError("the training of a round was ended")

    @property
    def recordings(self) -> int:
        """Steps recorded so far."""
        return sum(family.recordings for family in self._families.values())

    def family(self, kind: Hashable) -> Family:
        """Return the recordings of one step.

        Parameters
        ----------
        kind : hashable
            Whatever decides which kernels are called, but for what :meth:`Family.run` is told.
        """
        if kind not in self._families:
            self._families[kind] = Family(self)
        return self._families[kind]


class Family:
    """Recordings of one step by the shapes of its tensors."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._calls: dict[Hashable, int] = {}
        self._replays: dict[Hashable, Replay | None] = {}

    @property
    def recordings(self) -> int:
        """Steps recorded so far."""
        return sum(replay is not None for replay in self._replays.values())

    def run(
        self,
        key: Hashable,
        step: Step,
        optimizer: Optimizer,
        moving: Sequence[Tensor],
        inputs: Sequence[Tensor],
        fixed: Sequence[Tensor],
    ) -> None:
        """Do several steps.

        Parameters
        ----------
        key : hashable
            Shapes and layouts of the tensors, as far as they differ between calls.
        step : callable
            What is done; it must not depend on anything but its arguments.
        optimizer : Optimizer
            The local optimizer; of those with the same key only the rate differs.
        moving : sequence of Tensor
            What steps change in place, without gradients.
        inputs : sequence of Tensor, (steps, ...)
            What each step reads, at least one.
        fixed : sequence of Tensor
            What all steps read.
        """
        if not ours(optimizer) or not hasattr(optimizer, "lr"):
            return self._plainly(step, optimizer, moving, inputs, fixed)
        steps, done = len(inputs[0]), 0
        if key not in self._replays:
            calls = self._calls.get(key, 0)
            done = min(steps, max(0, CALLS_BEFORE - calls))
            self._calls[key] = calls + done
            self._plainly(step, optimizer, moving, [one[:done] for one in inputs], fixed)
            if done == steps:
                return None
            if self._recorder.recordings < MOST:
                self._replays[key] = _record(step, optimizer, moving, [one[done] for one in inputs], fixed)
                done += 1
            else:
                self._replays[key] = None
        replay = self._replays[key]
        if replay is None or replay.rate not in (None, optimizer.lr):
            return self._plainly(step, optimizer, moving, [one[done:] for one in inputs], fixed)
        while done < steps:
            self._recorder.require_time()
            last = min(steps, done + replay.steps_at_once)
            replay(optimizer.lr, moving, [one[done:last] for one in inputs], fixed)
            done = last
        return None

    def _plainly(
        self,
        step: Step,
        optimizer: Optimizer,
        moving: Sequence[Tensor],
        inputs: Sequence[Tensor],
        fixed: Sequence[Tensor],
    ) -> None:
        for own in zip(*inputs, strict=True):
            self._recorder.require_time()
            step(optimizer, moving, own, fixed)


class Replay:
    """A recorded step.

    Attributes
    ----------
    rate : float, optional
        The only learning rate that it knows; None: it is told.
    steps_at_once : int
        Steps that take about as long as a run may be deaf to Ctrl-C.
    """

    def __init__(self, graph: Any, rate: float | None) -> None:
        self.rate = rate
        self.steps_at_once = 1
        # Held, since the interpreter's plan belongs to it.
        self._function = torch._C._create_function_from_graph("steps", graph)

    def __call__(
        self, rate: float, moving: Sequence[Tensor], inputs: Sequence[Tensor], fixed: Sequence[Tensor]
    ) -> None:
        """Do the steps that ``inputs`` are for."""
        steps, started = len(inputs[0]), time.perf_counter()
        was = torch._C._get_graph_executor_optimize()
        # Unoptimised: every kernel as it was recorded, none fused or reordered.
        torch._C._set_graph_executor_optimize(False)
        try:
            self._function(steps, rate, *moving, *inputs, *fixed)
        finally:
            torch._C._set_graph_executor_optimize(was)
        pace = (time.perf_counter() - started) / steps
        self.steps_at_once = max(1, int(DEAF_SECONDS / max(pace, 1e-6)))


class Flat:
    """A pytree as the list of its tensors.

    Parameters
    ----------
    tree : pytree
        Tensors and whatever else stays as it is.

    Attributes
    ----------
    tensors : list of Tensor
        The tensors, in order.
    """

    def __init__(self, tree: Any) -> None:
        leaves, self._structure = pytree.tree_flatten(tree)
        self.tensors: list[Tensor] = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        self._leaves = [None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves]

    def tree(self, tensors: Iterable[Tensor]) -> Any:
        """Return the pytree with other tensors."""
        others = iter(tensors)
        leaves = [next(others) if leaf is None else leaf[0] for leaf in self._leaves]
        return pytree.tree_unflatten(leaves, self._structure)

    @property
    def kind(self) -> Hashable:
        """All but the values of the tensors."""
        shapes = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in self.tensors)
        return repr(self._structure), repr(self._leaves), shapes


def _record(
    step: Step,
    optimizer: Optimizer,
    moving: Sequence[Tensor],
    inputs: Sequence[Tensor],
    fixed: Sequence[Tensor],
) -> Replay | None:
    """Do a step, and return its recording if it has one that does the same."""
    before = [tensor.clone() for tensor in moving]
    step(optimizer, moving, inputs, fixed)
    rate = float(optimizer.lr)  # type: ignore[attr-defined]
    marked = copy.copy(optimizer)
    marked.lr = RATE  # type: ignore[attr-defined]
    stacks = [one[None] for one in inputs]
    # Numbers that are worked out of the rate hide it; such a recording is good for one rate only.
    for watched, only in ((marked, None), (optimizer, rate)):
        own, again = ([tensor.clone() for tensor in before] for _ in range(2))
        tape = Tape(own, inputs, fixed)
        with tape:
            step(watched, own, inputs, fixed)
        try:
            replay = Replay(tape.graph(), only)
            replay(rate, again, stacks, fixed)
        except Exception:
            # A step may do what cannot be recorded, another torch may not know it: it goes on as it is.
            return None
        if all(map(_same, again, moving)):
            return replay
    return None


def _same(first: Tensor, second: Tensor) -> bool:
    # NaN differs from itself and may be anywhere; what is left of the tensors must be equal.
    return bool(torch.equal(first.nan_to_num(), second.nan_to_num()))
