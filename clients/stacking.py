"""Clients that can be trained at once: who goes with whom, and their tensors on one leading axis."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from clients.base import Frozen, Tensors
from clients.jobs import TrainJob


def alike(jobs: Sequence[TrainJob]) -> list[list[int]]:
    """Divide clients into groups that can be stacked, each from most to fewest steps, ties in the given order.

    Clients of a group have the same optimizer and rate, and freeze the same kinds of things: MOON, say, freezes
    nothing at a client's first participation.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, job in enumerate(jobs):
        groups.setdefault(_kind(job), []).append(index)
    return [sorted(group, key=lambda index: -jobs[index].steps) for group in groups.values()]


def _kind(job: TrainJob) -> Hashable:
    leaves, structure = job.flat_frozen
    rate = job.local.progress.learning_rate
    return structure, tuple(map(_shape, leaves)), rate, type(job.optimizer), job.prior is None


def _shape(leaf: Any) -> Hashable:
    return (leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else repr(leaf)


@dataclass(frozen=True)
class Stacked:
    """A pytree over n clients.

    Attributes
    ----------
    leaves : list
        What all clients have in common as it is, everything else stacked, (n, ...).
    own : list of bool
        Which leaves are stacked.
    structure : TreeSpec
        How the leaves hang together.
    """

    leaves: list[Any]
    own: list[bool]
    structure: pytree.TreeSpec

    @classmethod
    def of(cls, jobs: Sequence[TrainJob]) -> Stacked:
        """Stack the frozen pytrees of clients of one group."""
        flat = [job.flat_frozen for job in jobs]
        leaves, own = [], []
        for same in zip(*(part for part, _ in flat), strict=True):
            first = same[0]
            alone = isinstance(first, Tensor) and any(leaf is not first for leaf in same)
            leaves.append(torch.stack(list(same)) if alone else first)
            own.append(alone)
        return cls(leaves, own, flat[0][1])

    def first(self, count: int) -> Frozen:
        """Return the pytree of the first ``count`` clients."""
        parts = [leaf[:count] if own else leaf for leaf, own in zip(self.leaves, self.own, strict=True)]
        return pytree.tree_unflatten(parts, self.structure)  # type: ignore[no-any-return]

    @property
    def kind(self) -> Hashable:
        """What tells pytrees apart for which a recorded or compiled step is another: all but values."""
        return repr(self.structure), tuple(self.own), tuple(map(_shape_of_one, self.leaves, self.own))

    @property
    def dims(self) -> Frozen:
        """The axis of clients of every leaf, for ``vmap``."""
        return pytree.tree_unflatten([0 if own else None for own in self.own], self.structure)  # type: ignore[no-any-return]


def _shape_of_one(leaf: Any, own: bool) -> Hashable:
    return (leaf.shape[1:], leaf.dtype) if own else _shape(leaf)


def stack_starts(jobs: Sequence[TrainJob], names: Sequence[str]) -> Tensors:
    """Return the models from which clients start, stacked, (n, ...), as fresh copies.

    Matrices lie column by column in memory, as the gradients of stacked linear layers do: a step that adds two
    layouts takes three times as long.
    """
    first, n, stacks = jobs[0].start, len(jobs), {}
    same = all(job.start is first for job in jobs)
    for name in names:
        one = first[name].detach()
        stack = one.new_empty((n, *one.shape[::-1])).transpose(1, 2) if one.ndim == 2 else None
        if stack is None:
            stack = one.new_empty((n, *one.shape))
        if same:
            stack.copy_(one.expand(n, *one.shape))
        else:
            for row, job in zip(stack, jobs, strict=True):
                row.copy_(job.start[name].detach())
        stacks[name] = stack
    return stacks


def stack_priors(jobs: Sequence[TrainJob]) -> Tensor | None:
    """Return what the loss needs of each client's class counts, (n, C); None: nothing."""
    priors = [job.prior for job in jobs if job.prior is not None]
    return torch.stack(priors) if priors else None


class First:
    """The first k clients of the stacks; sliced anew only when k changes."""

    def __init__(self, params: Tensors, state: Tensors, frozen: Stacked, prior: Tensor | None) -> None:
        self._all = params, state, frozen, prior
        self._count = -1
        self.params: Tensors = params
        self.state: Tensors = state
        self.frozen: Frozen = {}
        self.prior = prior

    def of(self, count: int) -> int:
        """Slice the stacks to ``count`` clients and return it."""
        if count != self._count:
            params, state, frozen, prior = self._all
            self.params = {name: value[:count] for name, value in params.items()}
            # A state without axes, Adam's number of steps, is that of all clients still at work.
            self.state = {name: value[:count] if value.ndim else value for name, value in state.items()}
            self.frozen = frozen.first(count)
            self.prior = None if prior is None else prior[:count]
            self._count = count
        return count
