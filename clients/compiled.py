"""Cohort training through compiled programs: gathering, padding and the step of all clients are one program.

What is compiled has fixed shapes, so that few programs serve a whole run: a chunk is always filled up to its full
number of clients and every batch to its full number of rows, with rows of weight 0. A program knows one learning
rate; where that changes from round to round, and on a card, it ends with the gradient, and the optimizer steps on
the clients at work. The first program takes 10 to 20 seconds, in a later process about two from torch's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from clients.gather import CohortBatches
from clients.groups import training_mode
from clients.jobs import TrainJob
from clients.optimizers import Optimizer
from clients.programs import Given, Moving, gradient_program, step_program
from clients.purity import ours
from clients.recorded import Flat
from clients.stacking import First, Stacked, alike, stack_priors, stack_starts
from clients.trainer import Trainer
from clients.vectorized import Trained, results

Inputs = tuple[Tensor, ...]


def train_compiled(trainer: Trainer, jobs: Sequence[TrainJob], chunk: int) -> list[Trained]:
    """Train clients at once through a compiled step.

    Parameters
    ----------
    trainer : Trainer
        How clients train.
    jobs : sequence of TrainJob
        At most ``chunk`` clients.
    chunk : int
        Clients that the program is made for.

    Returns
    -------
    list of (Tensors, float)
        In the order of ``jobs``; the tensors are views of the stacks.

    Raises
    ------
    RunError
        The step cannot be compiled.
    """
    trained: dict[int, Trained] = {}
    for group in alike(jobs):
        trained.update(zip(group, _train_group(trainer, [jobs[i] for i in group], chunk), strict=True))
    return [trained[index] for index in range(len(jobs))]


def _train_group(trainer: Trainer, jobs: Sequence[TrainJob], chunk: int) -> list[Trained]:
    training_mode(trainer.model)
    # Clients that fill the chunk up start like the first one and have no rows.
    filled = [*jobs, *[jobs[0]] * (chunk - len(jobs))]
    params = stack_starts(filled, trainer.shared)
    optimizer, options = jobs[0].optimizer, trainer.options
    batches = CohortBatches(jobs, options.augment, options.seed)
    given = Given(batches.pool, Stacked.of(filled), stack_priors(filled))
    device = jobs[0].local.data.train.pool.device
    sizes = torch.zeros((len(batches.sizes), chunk), dtype=torch.int64, device=device)
    sizes[:, : len(jobs)] = torch.from_numpy(batches.sizes)
    moving = Moving(params, optimizer.init(params), torch.zeros(chunk, dtype=torch.float64, device=device))
    inputs = _inputs(batches, chunk, trainer.plan.batch_size)
    whole = device.type == "cpu" and ours(optimizer) and optimizer is trainer.optimizer
    with trainer.turn.lent():
        if whole:
            _by_steps(trainer, optimizer, moving, given, inputs, sizes)
        else:
            _by_gradients(trainer, optimizer, moving, given, inputs, sizes, batches.active.tolist())
    return results(trainer, jobs, params, moving.totals, batches)


def _by_steps(
    trainer: Trainer,
    optimizer: Optimizer,
    moving: Moving,
    given: Given,
    inputs: Iterator[Inputs],
    sizes: Tensor,
) -> None:
    all_along = (moving, given.prior, given.frozen.first(sizes.shape[1]))
    tensors, program = Flat(all_along).tensors, None
    for own, size in zip(inputs, sizes.unbind(), strict=True):
        # The steps of a chunk are alike.
        program = program or step_program(trainer, optimizer, given, (*all_along, own, size))
        program([*tensors, *own, size])


def _by_gradients(
    trainer: Trainer,
    optimizer: Optimizer,
    moving: Moving,
    given: Given,
    inputs: Iterator[Inputs],
    sizes: Tensor,
    active: Sequence[int],
) -> None:
    params, state, totals = moving
    all_along = (params, given.prior, given.frozen.first(sizes.shape[1]))
    tensors, program = Flat(all_along).tensors, None
    now = First(params, state, given.frozen, given.prior)
    for own, size, count in zip(inputs, sizes.unbind(), active, strict=True):
        k = now.of(count)
        program = program or gradient_program(trainer, given, (*all_along, own, size))
        if size.device.type == "cuda":
            # A graph's outputs live until its next replay, which torch is told of; they are used up by then.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        gradients, values = program([*tensors, *own, size])
        optimizer.step(now.params, {name: value[:k] for name, value in gradients.items()}, now.state)
        totals += torch.where(size > 0, values.to(torch.float64) * size, 0.0)


def _inputs(batches: CohortBatches, chunk: int, width: int) -> Iterator[tuple[Tensor, ...]]:
    """Iterate over what each step reads: the pool and the rows in it, or rows and labels where they are changed."""
    if batches.pool is not None:
        rows, _ = batches.rows(width, chunk)
        index = torch.from_numpy(rows).to(batches.pool.device).view(-1, chunk, width)
        for one in index:
            yield batches.pool.x, batches.pool.y, one
        return
    for x, y in batches.each():
        whole = x.new_zeros((chunk, width, *x.shape[2:])), y.new_zeros((chunk, width))
        for target, source in zip(whole, (x, y), strict=True):
            # Padding repeats a real row: zeros might not be valid inputs.
            target[:] = source[0, 0]
            target[: source.shape[0], : source.shape[1]] = source
        yield whole
