"""One client's training through recorded steps: the bits of :func:`clients.training.train_from`, sooner."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from clients.base import Batch, Tensors
from clients.data import Pool
from clients.groups import training_mode
from clients.jobs import TrainJob
from clients.optimizers import Optimizer, clip
from clients.recorded import Flat, Step
from clients.trainer import Trainer
from clients.training import split_state


def train_replayed(trainer: Trainer, job: TrainJob) -> tuple[Tensors, float]:
    """Train one client of a trainer that :attr:`clients.trainer.Trainer.replays`.

    Returns
    -------
    tuple of (Tensors, float)
        All received tensors after training, and the mean training loss over all samples seen.
    """
    training_mode(trainer.model)
    params, _ = split_state(trainer.model, job.start)
    rest, optimizer, split = Flat((job.prior, job.frozen)), job.optimizer, job.local.data.train
    state = optimizer.init(params)
    total = torch.zeros((), dtype=torch.float64, device=split.pool.device)
    changed = trainer.options.augment.active or split.shift is not None or split.transform is not None
    pool = None if changed else split.pool
    step = _step(trainer, list(params), list(state), rest, pool)
    family = trainer.recorder.family(("alone", rest.kind, pool))
    moving = [*params.values(), *state.values(), total]
    fixed = rest.tensors if pool is None else [pool.x, pool.y, *rest.tensors]
    for inputs in _changed(trainer, job) if pool is None else _alike(job):
        kind = tuple((one.shape[1:], one.stride()[1:]) for one in inputs)
        with trainer.turn.lent():
            family.run(kind, step, optimizer, moving, inputs, fixed)
    job.local.progress.steps += job.steps
    seen = len(job.batches.positions)
    return {name: params[name] for name in job.local.received if name in params}, float(total) / max(seen, 1)


def _step(trainer: Trainer, names: Sequence[str], kept: Sequence[str], rest: Flat, pool: Pool | None) -> Step:
    """Return one step of the client: its parameters, its optimizer's state and its summed loss move."""
    clip_norm = trainer.options.clip_norm

    def step(
        optimizer: Optimizer, moving: Sequence[Tensor], inputs: Sequence[Tensor], fixed: Sequence[Tensor]
    ) -> None:
        params = dict(zip(names, moving, strict=False))
        state = dict(zip(kept, moving[len(names) :], strict=False))
        if pool is None:
            x, y = inputs
        else:
            all_x, all_y, *fixed = fixed
            x, y = pool.cut(all_x, all_y, inputs[0])
        prior, frozen = rest.tree(fixed)
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        value = trainer.update.loss(trainer.forward, leaves, Batch(x, y, None, prior), frozen)
        found = torch.autograd.grad(value, list(leaves.values()))
        gradients = dict(zip(names, found, strict=True))
        if clip_norm is not None:
            gradients = clip(gradients, clip_norm)
        optimizer.step(params, gradients, state)
        moving[-1].add_(value.detach().to(torch.float64) * len(y))

    return step


def _alike(job: TrainJob) -> Iterator[tuple[Tensor, ...]]:
    """Iterate over the pool's rows of each step, (steps, b), as many steps at a time as have as many rows."""
    split = job.local.data.train
    index, first = torch.from_numpy(split.rows[job.batches.positions]).to(split.pool.device), 0
    for size, group in itertools.groupby(job.batches.lengths.tolist()):
        steps = sum(1 for _ in group)
        yield (index[first : first + steps * size].view(steps, size),)
        first += steps * size


def _changed(trainer: Trainer, job: TrainJob) -> Iterator[tuple[Tensor, ...]]:
    """Iterate over features (1, b, ...) and labels (1, b) of each step."""
    split, augment = job.local.data.train, trainer.options.augment
    draws = augment.draws(trainer.options.seed, job.local.data.key, job.local.round)
    changes = augment.changes(job.batches.lengths.tolist(), draws, split.pool.device)
    for (x, y), change in zip(split.cut(job.batches), changes, strict=True):
        yield tuple(one[None] for one in augment.apply_rows(x, y, change))
