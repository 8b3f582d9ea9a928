"""Cohort training through a compiled step: gathering, padding and the gradient of all clients are one program.

What is compiled has fixed shapes, so that few programs serve a whole run: a chunk is always filled up to its full
number of clients and every batch to its full number of rows, with rows of weight 0. The optimizer steps on the
clients at work alone. The first call of a program takes 10 to 20 seconds, in a later process about two from torch's
cache.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from clients.base import Batch, Frozen, Tensors
from clients.data import Pool
from clients.gather import CohortBatches
from clients.groups import training_mode
from clients.jobs import TrainJob
from clients.optimizers import clip
from clients.stacking import First, Stacked, alike, stack_priors, stack_starts
from clients.trainer import Trainer
from clients.vectorized import Trained, results
from fedbal.errors import RunError

Program = Callable[..., tuple[Tensors, Tensor]]


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
    frozen, prior = Stacked.of(filled), stack_priors(filled)
    optimizer, options = jobs[0].optimizer, trainer.options
    state = optimizer.init(params)
    batches = CohortBatches(jobs, options.augment, options.seed)
    device = jobs[0].local.data.train.pool.device
    sizes = torch.zeros((len(batches.sizes), chunk), dtype=torch.int64, device=device)
    sizes[:, : len(jobs)] = torch.from_numpy(batches.sizes)
    totals = torch.zeros(chunk, dtype=torch.float64, device=device)
    every = frozen.first(chunk)
    now = First(params, state, frozen, prior)
    for step, inputs in enumerate(_inputs(batches, chunk, trainer.plan.batch_size)):
        k = now.of(int(batches.active[step]))
        program = _program(trainer, batches.pool, frozen, (params, inputs, sizes[step], prior, every))
        if device.type == "cuda":
            # A graph's outputs live until its next replay, which torch is told of; they are used up by then.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        gradients, values = program(params, inputs, sizes[step], prior, every)
        optimizer.step(now.params, {name: value[:k] for name, value in gradients.items()}, now.state)
        totals += torch.where(sizes[step] > 0, values.to(torch.float64) * sizes[step], 0.0)
    return results(trainer, jobs, params, totals, batches)


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


def _program(trainer: Trainer, pool: Pool | None, frozen: Stacked, example: tuple[Any, ...]) -> Program:
    """Return the compiled gradient for inputs like these, which is made once a process."""
    params, inputs, _, prior, _ = example
    shapes = [None if one is None else (one.shape, one.dtype) for one in (*params.values(), *inputs, prior)]
    leaves = [(one.shape, one.dtype) if isinstance(one, Tensor) else repr(one) for one in frozen.leaves]
    key: Hashable = (id(pool), *shapes, *leaves, *frozen.own, repr(frozen.structure))
    if key not in trainer.programs:
        trainer.programs[key] = _compiled(trainer, pool, frozen.dims, example)
    program: Program = trainer.programs[key]
    return program


def _compiled(trainer: Trainer, pool: Pool | None, dims: Frozen, example: tuple[Any, ...]) -> Program:
    gradient = _gradient(trainer, pool, dims)
    try:
        traced = make_fx(gradient)(*example)
        program = torch.compile(traced, dynamic=False, fullgraph=True, mode=mode_of(example[2].device))
        program(*example)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise RunError(
            f"runtime.compile: the step of the clients cannot be compiled ({reason}); set runtime.compile to false."
        ) from error
    return program


def mode_of(device: torch.device) -> str | None:
    """Return torch's mode of compilation: on a card the step is one CUDA graph, launched by one call."""
    return "reduce-overhead" if device.type == "cuda" else None


def _gradient(trainer: Trainer, pool: Pool | None, frozen_dims: Frozen) -> Program:
    update, forward, clip_norm = trainer.update, trainer.forward, trainer.options.clip_norm

    def one(
        params: Tensors, x: Tensor, y: Tensor, weight: Tensor, prior: Tensor | None, frozen: Frozen
    ) -> Tensor:
        return update.loss(forward, params, Batch(x, y, weight, prior), frozen)

    def own(*arguments: Any) -> tuple[Tensors, Tensor]:
        gradients, value = grad_and_value(one)(*arguments)
        return (gradients if clip_norm is None else clip(gradients, clip_norm)), value

    def together(
        params: Tensors, inputs: tuple[Tensor, ...], sizes: Tensor, prior: Tensor | None, frozen: Frozen
    ) -> tuple[Tensors, Tensor]:
        if pool is None:
            x, y = inputs
        else:
            all_x, all_y, rows = inputs
            flat_x, flat_y = pool.cut(all_x, all_y, rows.reshape(-1))
            x, y = flat_x.view(*rows.shape, *flat_x.shape[1:]), flat_y.view(rows.shape)
        weight = (torch.arange(y.shape[1], device=y.device) < sizes[:, None]).to(x.dtype)
        axes = (0, 0, 0, 0, None if prior is None else 0, frozen_dims)
        gradients, values = vmap(own, in_dims=axes)(params, x, y, weight, prior, frozen)
        return gradients, values

    return together
