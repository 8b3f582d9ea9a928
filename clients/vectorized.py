"""Cohort training: many clients advance together, their parameters stacked on one axis.

Every step is one gradient of all active clients, by ``vmap`` over the loss, and one move of the optimizer on all.
Clients are sorted by their steps, so that the active ones are always the first k: a step works on the slices
``[:k]`` and nothing is computed for clients that are done. Clients with fewer rows in a step are padded with rows
of weight 0. What each client computes is what it computes alone, up to the rounding of batched kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.func import vmap

from clients.base import Batch, Frozen, Tensors
from clients.data import Pool
from clients.gather import CohortBatches, cut, real_rows
from clients.groups import training_mode
from clients.jobs import TrainJob
from clients.optimizers import Optimizer, clip
from clients.recorded import Flat, Step
from clients.stacking import First, Stacked, alike, stack_priors, stack_starts
from clients.trainer import Trainer

Trained = tuple[Tensors, float]
"""All tensors that travel after training, and the mean training loss over all samples seen."""


def train_together(trainer: Trainer, jobs: Sequence[TrainJob]) -> list[Trained]:
    """Train clients at once.

    The tensors of a client are views of the stacks.

    Parameters
    ----------
    trainer : Trainer
        How clients train; :func:`clients.vectorizable.obstacle` says whether they can be trained at once.
    jobs : sequence of TrainJob
        The clients.

    Returns
    -------
    list of (Tensors, float)
        In the order of ``jobs``.
    """
    trained: dict[int, Trained] = {}
    for group in alike(jobs):
        trained.update(zip(group, _train_group(trainer, [jobs[index] for index in group]), strict=True))
    return [trained[index] for index in range(len(jobs))]


def _train_group(trainer: Trainer, jobs: Sequence[TrainJob]) -> list[Trained]:
    training_mode(trainer.model)
    optimizer, options = jobs[0].optimizer, trainer.options
    params = stack_starts(jobs, trainer.shared)
    state = optimizer.init(params)
    batches = CohortBatches(jobs, options.augment, options.seed)
    frozen, prior = Stacked.of(jobs), stack_priors(jobs)
    pool = batches.pool
    totals = torch.zeros(len(jobs), dtype=torch.float64, device=jobs[0].local.data.train.pool.device)
    kind = ("at once", frozen.kind, None if prior is None else prior.shape[1:], pool)
    family = trainer.recorder.family(kind)
    now = First(params, state, frozen, prior)
    for steps in batches.runs():
        now.of(steps.clients)
        rest = Flat((now.prior, now.frozen))
        step = _step(trainer, list(params), list(state), frozen.dims, rest, pool, steps.padded)
        moving = [*now.params.values(), *now.state.values(), totals[: steps.clients]]
        fixed = rest.tensors if pool is None else [pool.x, pool.y, *rest.tensors]
        with trainer.turn.lent():
            family.run(steps.kind, step, optimizer, moving, steps.inputs, fixed)
    return results(trainer, jobs, params, totals, batches)


def _step(
    trainer: Trainer,
    names: Sequence[str],
    kept: Sequence[str],
    frozen_dims: Frozen,
    rest: Flat,
    pool: Pool | None,
    padded: bool,
) -> Step:
    """Return one step of the clients at work: their parameters, optimizer's state and summed losses move."""
    gradient = stacked_gradient(trainer, frozen_dims, trainer.options.clip_norm)

    def step(
        optimizer: Optimizer, moving: Sequence[Tensor], inputs: Sequence[Tensor], fixed: Sequence[Tensor]
    ) -> None:
        params = dict(zip(names, moving, strict=False))
        state = dict(zip(kept, moving[len(names) :], strict=False))
        *given, sizes = inputs
        if pool is None:
            x, y = given
        else:
            (rows,), (all_x, all_y, *fixed) = given, fixed
            x, y = cut(pool, all_x, all_y, rows)
        weight = real_rows(x, y, sizes) if padded else None
        gradients, values = gradient(params, x, y, weight, *rest.tree(fixed))
        optimizer.step(params, gradients, state)
        moving[-1].add_(values.to(torch.float64) * sizes)

    return step


def results(
    trainer: Trainer, jobs: Sequence[TrainJob], params: Tensors, totals: Tensor, batches: CohortBatches
) -> list[Trained]:
    """Return what each client trained, and note in its progress how many steps it did."""
    losses = totals.tolist()
    seen = batches.sizes.sum(axis=0).tolist()
    names = [name for name in jobs[0].local.received if name in params]
    rows = zip(*(params[name].unbind() for name in names), strict=True)
    trained = []
    for index, (job, row) in enumerate(zip(jobs, rows, strict=False)):
        job.local.progress.steps += job.steps
        trained.append((dict(zip(names, row, strict=True)), losses[index] / max(seen[index], 1)))
    return trained


def stacked_gradient(
    trainer: Trainer, frozen_dims: Frozen, clip_norm: float | None
) -> Callable[[Tensors, Tensor, Tensor, Tensor | None, Tensor | None, Frozen], tuple[Tensors, Tensor]]:
    """Return the function from stacked inputs to every client's clipped gradient and its loss, (k,)."""
    update, forward = trainer.update, trainer.forward

    def one(
        params: Tensors, x: Tensor, y: Tensor, weight: Tensor | None, prior: Tensor | None, frozen: Frozen
    ) -> Tensor:
        return update.loss(forward, params, Batch(x, y, weight, prior), frozen)

    def together(
        params: Tensors, x: Tensor, y: Tensor, weight: Tensor | None, prior: Tensor | None, frozen: Frozen
    ) -> tuple[Tensors, Tensor]:
        dims = (0, 0, 0, None if weight is None else 0, None if prior is None else 0, frozen_dims)
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        values = vmap(one, in_dims=dims)(leaves, x, y, weight, prior, frozen)
        # No loss depends on another client's parameters: the gradient of the sum is every client's own, at about
        # two thirds of the time of a mapped gradient.
        found = torch.autograd.grad(values.sum(), list(leaves.values()))
        gradients = dict(zip(leaves, found, strict=True))
        if clip_norm is not None:
            gradients = vmap(partial(clip, max_norm=clip_norm))(gradients)
        return gradients, values.detach()

    return together
