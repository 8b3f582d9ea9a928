"""From a model's name and parameters to a network with seeded initial values."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from fedbal.errors import UsageError
from fedbal.models import MODELS
from fedbal.models.base import Classifier
from fedbal.seeding import integer


class ModelChoice(Protocol):
    """A model's parameter object, a table entry's or a user's own."""

    @property
    def name(self) -> str:
        """Table name or reference."""
        ...

    def kwargs(self) -> dict[str, Any]:
        """Return the constructor arguments beyond the input shape and the number of classes."""
        ...


def build(
    params: ModelChoice,
    input_shape: tuple[int, ...],
    num_classes: int,
    seed: int,
    target_shape: tuple[int, ...] = (),
) -> nn.Module:
    """Construct a model with initial values that depend on ``seed`` only.

    Every linear, convolution and normalisation parameter of a :class:`Classifier` is drawn from the stream
    of its own name, so that a model with one more head has the same values everywhere else. What such a model
    has besides these, and any other module, keeps what its constructor gave it under a seeded generator, so
    that deliberate initial values of a user's own model are respected. torch's global generators are
    left as they were.

    Parameters
    ----------
    params : ModelChoice
        Name and constructor arguments.
    input_shape : tuple of int
        Shape of one input, without the batch.
    num_classes : int
        Classes of the task.
    seed : int
        The ``init`` seed.
    target_shape : tuple of int
        Shape of one row's labels: ``()`` for a class, ``(height, width)`` for a mask.

    Raises
    ------
    UsageError
        The name is unknown, the constructor fails, or what it makes does not map (b, *input_shape) to
        (b, num_classes, *target_shape).
    """
    shape = tuple(input_shape)
    make = MODELS.load(params.name)
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed the accelerators too, which nothing restores.
        torch.default_generator.manual_seed(integer(seed, "init"))
        model = _construct(make, params, shape, num_classes)
        _probe(model, params.name, shape, (num_classes, *target_shape))
    if isinstance(model, Classifier) and model.named_init:
        draw_by_name(model, seed)
    return model


@torch.no_grad()
def draw_by_name(model: nn.Module, seed: int) -> None:
    """Set the parameters of linear, convolution and normalisation layers in place, each from its own stream.

    Weights and biases of linear and convolution layers are uniform within 1 / sqrt(fan-in), torch's default;
    norms scale by one and shift by zero.

    Parameters
    ----------
    model : nn.Module
        The model; parameters of other kinds of layers are left alone.
    seed : int
        The ``init`` seed.
    """
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if isinstance(module, nn.Linear | _ConvNd):
                bound = module.weight[0].numel() ** -0.5
                generator = torch.Generator().manual_seed(integer(seed, "init", name))
                parameter.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, nn.GroupNorm | nn.LayerNorm | _NormBase):
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)


def _construct(make: Any, params: ModelChoice, shape: tuple[int, ...], num_classes: int) -> nn.Module:
    arguments = params.kwargs()
    try:
        model = make(shape, num_classes, **arguments)
    except UsageError:
        raise
    except Exception as error:
        given = "".join(f", {key}={value!r}" for key, value in arguments.items())
        raise UsageError(
            f"constructing model {params.name!r} with (input_shape={shape}, num_classes={num_classes}"
            f"{given}) failed: {type(error).__name__}: {error}; the constructor takes (input_shape, "
            f"num_classes) and the parameters written in the scenario."
        ) from error
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"model {params.name!r} makes a {type(model).__name__}; it must be a torch.nn.Module."
        )
    return model


@torch.no_grad()
def _probe(model: nn.Module, name: str, shape: tuple[int, ...], logits: tuple[int, ...]) -> None:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        output = model(torch.zeros(2, *shape))
    except Exception as error:
        raise UsageError(
            f"model {name!r} fails on a batch of shape {(2, *shape)}: {type(error).__name__}: {error}."
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if found != (2, *logits):
        pixels = " at every pixel" if len(logits) > 1 else ""
        raise UsageError(
            f"model {name!r} returns {found} for a batch of 2; logits of shape {(2, *logits)} are "
            f"needed, one row a sample and one column a class{pixels}."
        )
