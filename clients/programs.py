"""Programs that torch's compiler makes of a cohort's step: of its gradient alone, or of all of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Any, NamedTuple

import torch
import torch._inductor
import torch._inductor.config
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from clients.base import Batch, Frozen, Tensors
from clients.data import Pool
from clients.gather import cut, real_rows
from clients.optimizers import Optimizer, clip
from clients.recorded import Flat
from clients.stacking import Stacked
from clients.trainer import Trainer
from fedbal.errors import RunError

Program = Callable[[Sequence[Tensor]], Any]
"""From the tensors of all arguments, in order, to what the function returns."""

_COMPILING = Lock()


class Given(NamedTuple):
    """What the clients of a chunk keep during their training."""

    pool: Pool | None
    """Whose rows are cut inside of the program; None: it is given features and labels."""
    frozen: Stacked
    prior: Tensor | None


class Moving(NamedTuple):
    """What a step changes."""

    params: Tensors
    state: Tensors
    totals: Tensor
    """Summed losses of the clients, (chunk,), float64."""


def gradient_program(trainer: Trainer, given: Given, example: Sequence[Any]) -> Program:
    """Return the program of ``(params, prior, frozen, inputs, sizes)`` to gradients and losses.

    Parameters
    ----------
    trainer : Trainer
        Keeps programs, so that each is made once a process.
    given : Given
        What belongs to the clients.
    example : sequence
        Arguments; the program takes their tensors, those of an argument's pytree in order.
    """
    return _once(trainer, ("gradient", *_kind(given, example)), _gradient(trainer, given), example)


def step_program(trainer: Trainer, optimizer: Optimizer, given: Given, example: Sequence[Any]) -> Program:
    """Return the program of ``(moving, prior, frozen, inputs, sizes)`` that does a step in place.

    Clients without rows in the step stay as they are; parameters as of :func:`gradient_program`.
    """
    gradient = _gradient(trainer, given)

    def step(moving: Moving, prior: Tensor | None, frozen: Frozen, inputs: Any, sizes: Tensor) -> Tensor:
        params, state, totals = moving
        active = sizes > 0
        gradients, values = gradient(params, prior, frozen, inputs, sizes)
        new, kept = ({name: value.clone() for name, value in tensors.items()} for tensors in (params, state))
        optimizer.step(new, gradients, kept)
        for old, following in ((params, new), (state, kept)):
            for name, value in old.items():
                # A state without axes, Adam's number of steps, is that of all clients still at work.
                mask = active.view(-1, *[1] * (value.ndim - 1)) if value.ndim else None
                value.copy_(following[name] if mask is None else torch.where(mask, following[name], value))
        totals.add_(torch.where(active, values.to(torch.float64) * sizes, 0.0))
        return totals

    return _once(trainer, ("step", *_kind(given, example)), step, example)


def _kind(given: Given, example: Sequence[Any]) -> Sequence[Hashable]:
    frozen = given.frozen
    leaves = [(leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else repr(leaf) for leaf in frozen.leaves]
    shapes = [(one.shape, one.dtype) for one in Flat(tuple(example)).tensors]
    return given.pool, *shapes, *leaves, *frozen.own, repr(frozen.structure)


def _once(trainer: Trainer, key: Hashable, function: Callable[..., Any], example: Sequence[Any]) -> Program:
    if key not in trainer.programs:
        # The compiler keeps what it is at in variables of the process.
        with _COMPILING:
            trainer.programs[key] = _compiled(function, Flat(tuple(example)))
    program: Program = trainer.programs[key]
    return program


def _compiled(function: Callable[..., Any], example: Flat) -> Program:
    """Return the program of a function of pytrees like the example's."""
    outputs: list[Flat] = []

    def flat(*tensors: Tensor) -> list[Tensor]:
        outputs[:] = [Flat(function(*example.tree(tensors)))]
        return outputs[0].tensors

    try:
        copies = [tensor.clone() for tensor in example.tensors]
        traced = make_fx(flat)(*copies)
        compiled = (_with_graphs if copies[0].device.type == "cuda" else _bare)(traced, copies)
        compiled(*copies)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise RunError(
            f"runtime.compile: the step of the clients cannot be compiled ({reason}); set runtime.compile to false."
        ) from error
    return lambda tensors: outputs[0].tree(compiled(*tensors))


def _with_graphs(traced: Callable[..., Any], example: Sequence[Tensor]) -> Callable[..., Any]:
    """Compile for a card, where the step is one CUDA graph, launched by one call."""
    program: Callable[..., Any] = torch.compile(traced, dynamic=False, fullgraph=True, mode="reduce-overhead")
    return program


def _bare(traced: Any, example: Sequence[Tensor]) -> Callable[..., Any]:
    """Compile for inputs like these alone, without a look at them at every call.

    The kernels are called from C++, without Python's lock, so that threads train side by side.
    """
    with torch._inductor.config.patch(cpp_wrapper=True):
        program: Callable[..., Any] = torch._inductor.standalone_compile(
            traced, list(example), dynamic_shapes="from_example_inputs"
        )
    return program


def _gradient(trainer: Trainer, given: Given) -> Callable[..., tuple[Tensors, Tensor]]:
    update, forward, clip_norm = trainer.update, trainer.forward, trainer.options.clip_norm
    pool, frozen_dims = given.pool, given.frozen.dims

    def one(
        params: Tensors, x: Tensor, y: Tensor, weight: Tensor, prior: Tensor | None, frozen: Frozen
    ) -> Tensor:
        return update.loss(forward, params, Batch(x, y, weight, prior), frozen)

    def own(*arguments: Any) -> tuple[Tensors, Tensor]:
        gradients, value = grad_and_value(one)(*arguments)
        return (gradients if clip_norm is None else clip(gradients, clip_norm)), value

    def together(
        params: Tensors, prior: Tensor | None, frozen: Frozen, inputs: tuple[Tensor, ...], sizes: Tensor
    ) -> tuple[Tensors, Tensor]:
        if pool is None:
            x, y = inputs
        else:
            all_x, all_y, rows = inputs
            x, y = cut(pool, all_x, all_y, rows)
        weight = real_rows(x, y, sizes)
        axes = (0, 0, 0, 0, None if prior is None else 0, frozen_dims)
        gradients, values = vmap(own, in_dims=axes)(params, x, y, weight, prior, frozen)
        return gradients, values

    return together
