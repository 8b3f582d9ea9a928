"""One client's training through recorded steps: the bits of :func:`clients.training.train_from`, sooner."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from clients.base import Batch, Tensors
from clients.groups import training_mode
from clients.jobs import TrainJob
from clients.optimizers import clip
from clients.recorded import Flat
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
    names, clip_norm = list(params), trainer.options.clip_norm
    rest, optimizer = Flat((job.prior, job.frozen)), job.optimizer
    state = optimizer.init(params)

    def gradient(*tensors: Tensor) -> tuple[Tensor, ...]:
        leaves = {name: value.detach().requires_grad_() for name, value in zip(names, tensors, strict=False)}
        x, y = tensors[len(names) : len(names) + 2]
        prior, frozen = rest.tree(tensors[len(names) + 2 :])
        value = trainer.update.loss(trainer.forward, leaves, Batch(x, y, None, prior), frozen)
        found = torch.autograd.grad(value, list(leaves.values()))
        if clip_norm is not None:
            found = tuple(clip(dict(zip(names, found, strict=True)), clip_norm).values())
        return (*found, value.detach())

    family = trainer.recorder.family(("alone", rest.kind))
    moving = list(params.values())
    losses: list[Tensor] = []
    for x, y in _batches(trainer, job):
        found = family.run((x.shape, x.stride()), gradient, (*moving, x, y, *rest.tensors))
        optimizer.step(params, dict(zip(names, found, strict=False)), state)
        losses.append(found[-1])
    job.local.progress.steps += len(losses)
    total, seen = 0.0, 0
    for loss, batch in zip(torch.stack(losses).tolist() if losses else [], job.batches, strict=True):
        total += loss * len(batch)
        seen += len(batch)
    return {name: params[name] for name in job.local.received if name in params}, total / max(seen, 1)


def _batches(trainer: Trainer, job: TrainJob) -> Iterator[tuple[Tensor, Tensor]]:
    split, augment = job.local.data.train, trainer.options.augment
    draws = augment.draws(trainer.options.seed, job.local.data.key, job.local.round)
    changes = augment.changes([len(positions) for positions in job.batches], draws, split.pool.device)
    for (x, y), change in zip(split.cut(job.batches), changes, strict=True):
        yield augment.apply_rows(x, y, change)
