"""Local training of one client: seeded minibatches, the loop over steps, evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from clients.augment import Augmentation
from clients.base import Batch, ClientUpdate, Frozen, LocalRound, Tensors
from clients.data import Split
from clients.functional import ModelFunction, Precision
from clients.groups import training_mode
from clients.losses import class_prior
from clients.optimizers import Optimizer, clip
from fedbal.measures.base import Measures, Sums
from fedbal.seeding import stream

S = TypeVar("S", bound=Sums)

EVALUATED_ROWS = 512
"""Rows of a batch that is only evaluated; sums of losses depend on it."""


@dataclass(frozen=True)
class StepOptions:
    """What is done to the batch and to the gradient of every local step, and how exactly; default: nothing, fp32.

    Attributes
    ----------
    clip_norm : float, optional
        Largest L2 norm of the gradient over all parameters, > 0.
    augment : Augmentation
        Random changes of training images.
    seed : int
        Training seed of the augmentation's stream.
    precision : {"fp32", "tf32", "bf16"}
        Arithmetic of the forward and backward passes.
    """

    clip_norm: float | None = None
    augment: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    precision: Precision = "fp32"


@dataclass(frozen=True)
class LocalPlan:
    """How much local work a client does in a round.

    Attributes
    ----------
    batch_size : int
        Samples a step, >= 1; the last batch of an epoch may be smaller.
    epochs : int, optional
        Passes over the client's data; exactly one of ``epochs`` and ``steps`` is given.
    steps : int, optional
        Minibatch steps; epochs follow one another until they are done.
    """

    batch_size: int
    epochs: int | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"give exactly one of epochs and steps, got {self.epochs} and {self.steps}")

    @property
    def units(self) -> int:
        """Local work in its own unit: epochs, or steps."""
        return self.epochs if self.epochs is not None else self.steps or 0

    def num_steps(self, n: int, units: int | None = None) -> int:
        """Return the minibatch steps of a client with ``n`` samples; parameters as of :meth:`minibatches`."""
        todo = self.units if units is None else units
        return todo * -(-n // self.batch_size) if self.epochs is not None else todo

    def minibatches(
        self, seed: int, client: str, server_round: int, n: int, units: int | None = None
    ) -> Minibatches:
        """Return the positions of each minibatch.

        Parameters
        ----------
        seed : int
            Training seed; the order depends on (seed, client, round) alone.
        client : str
            Client key.
        server_round : int
            Round, from 1.
        n : int
            Training samples of the client.
        units : int, optional
            Epochs (or steps) to do, when fewer than planned: a straggler's work is the beginning of the
            same stream.
        """
        steps = self.num_steps(n, units) if n else 0
        if not steps:
            return Minibatches(np.empty(0, np.int64), np.empty(0, np.int64))
        generator, epochs = (
            stream(seed, "batches", client, server_round),
            -(-steps // -(-n // self.batch_size)),
        )
        orders = [generator.permutation(n) for _ in range(epochs)]
        lengths = _lengths(n, self.batch_size, steps)
        positions = orders[0] if epochs == 1 else np.concatenate(orders)
        return Minibatches(positions[: int(lengths.sum())], lengths)


class Minibatches(Sequence[NDArray[np.int64]]):
    """The positions of each minibatch of a client's round, one array a step.

    Parameters
    ----------
    positions : ndarray, shape (sum of lengths,)
        Of all steps, one after the other.
    lengths : ndarray, shape (steps,)
        Rows of each step.
    """

    __slots__ = ("lengths", "positions")

    def __init__(self, positions: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        self.positions = positions
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        first = 0
        for length in self.lengths.tolist():
            yield self.positions[first : first + length]
            first += length

    @overload
    def __getitem__(self, step: int) -> NDArray[np.int64]: ...
    @overload
    def __getitem__(self, step: slice) -> list[NDArray[np.int64]]: ...
    def __getitem__(self, step: int | slice) -> NDArray[np.int64] | list[NDArray[np.int64]]:
        return list(self)[step]


@lru_cache(maxsize=4096)
def _lengths(n: int, size: int, steps: int) -> NDArray[np.int64]:
    """Return the rows of each of some steps, where every epoch ends with what is left of ``n``."""
    epoch = [min(size, n - start) for start in range(0, n, size)]
    return np.resize(np.array(epoch, np.int64), steps)


_PLAIN = StepOptions()


def split_state(model: nn.Module, state: Mapping[str, Tensor]) -> tuple[Tensors, Tensors]:
    """Split named tensors into trainable parameters and everything else, as fresh copies."""
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    params = {name: value.detach().clone() for name, value in state.items() if name in trainable}
    rest = {name: value.detach().clone() for name, value in state.items() if name not in trainable}
    return params, rest


def train(
    model: nn.Module,
    update: ClientUpdate,
    optimizer: Optimizer,
    local: LocalRound,
    frozen: Frozen,
    minibatches: Iterable[NDArray[np.int64]],
    options: StepOptions = _PLAIN,
) -> tuple[Tensors, float]:
    """Train from the received model.

    What the message did not bring, the frozen tensors, is the model's own.

    Returns
    -------
    tuple of (Tensors, float)
        All received tensors after training, and the mean training loss over all samples seen.
    """
    start, prior = update.start(local), class_prior(update.criterion, local)
    return train_from(start, model, update, optimizer, local, frozen, minibatches, options, prior)


def train_from(
    start: Tensors,
    model: nn.Module,
    update: ClientUpdate,
    optimizer: Optimizer,
    local: LocalRound,
    frozen: Frozen,
    minibatches: Iterable[NDArray[np.int64]],
    options: StepOptions,
    prior: Tensor | None,
) -> tuple[Tensors, float]:
    """Train from the model ``start``, which stays as it is, with the loss's ``prior``; as :func:`train`."""
    training_mode(model)
    params, buffers = split_state(model, start)

    forward = ModelFunction(model, buffers, options.precision)
    state = optimizer.init(params)
    descend = _Loop(optimizer, state, options.clip_norm)
    device = local.data.train.pool.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    seen = 0
    planned = list(minibatches)
    draws = options.augment.draws(options.seed, local.data.key, local.round)
    changes = options.augment.changes([len(one) for one in planned], draws, device)
    for (x, y), change in zip(local.data.train.cut(planned), changes, strict=True):
        batch = Batch(*options.augment.apply_rows(x, y, change), None, prior)
        params, loss = update.step(forward, params, batch, frozen, descend)
        total += loss.to(torch.float64) * len(y)
        seen += len(y)
        local.progress.steps += 1
    trained = {name: params.get(name, buffers.get(name)) for name in local.received}
    return {name: value for name, value in trained.items() if value is not None}, float(total) / max(seen, 1)


@dataclass(frozen=True)
class _Loop:
    """Moves one client's parameters: differentiate, clip, let the optimizer step in place."""

    optimizer: Optimizer
    state: Tensors
    clip_norm: float | None

    def __call__(
        self,
        objective: Callable[[Tensors], Tensor],
        params: Tensors,
        names: Sequence[str] | None = None,
        *,
        ascend: bool = False,
    ) -> tuple[Tensors, Tensor]:
        moving = list(params) if names is None else list(names)
        leaves = {**params, **{name: params[name].detach().requires_grad_() for name in moving}}
        value = objective(leaves)
        gradients = torch.autograd.grad(value, [leaves[name] for name in moving])
        named = dict(zip(moving, gradients, strict=True))
        if ascend:
            named = {name: -gradient for name, gradient in named.items()}
        if self.clip_norm is not None:
            named = clip(named, self.clip_norm)
        moved = {name: leaves[name].detach() for name in moving}
        self.optimizer.step(moved, named, self.state)
        return {**params, **moved}, value.detach()


@torch.no_grad()
def predict(
    model: nn.Module, state: Mapping[str, Tensor], split: Split, batch_size: int = EVALUATED_ROWS
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over a split in order: logits ``(b, C)`` and labels ``(b,)`` of each batch, or of its pixels."""
    model.eval()
    tensors = dict(state)
    for x, y in split.batches(batch_size):
        yield functional_call(model, tensors, (x,)), y


@torch.no_grad()
def evaluate(
    model: nn.Module,
    state: Mapping[str, Tensor],
    split: Split,
    measures: Measures[S],
    batch_size: int = EVALUATED_ROWS,
) -> S:
    """Evaluate a model on a split and return the task's additive statistics."""
    total = measures.empty()
    for logits, y in predict(model, state, split, batch_size):
        total = total + measures.score(logits, y)
    return total
