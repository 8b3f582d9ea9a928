"""Modules that a local objective needs beside the model: they travel and are averaged, predictions ignore them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn

from fedbal.errors import UsageError
from fedbal.models.build import draw_by_name
from fedbal.protocol import AUXILIARY


class NeedsModules(Protocol):
    """A client update, as far as it matters here."""

    def modules(self, model: nn.Module, input_shape: tuple[int, ...]) -> Mapping[str, nn.Module]:
        """Return the modules by name."""
        ...


def attach(model: nn.Module, update: NeedsModules, input_shape: tuple[int, ...], seed: int) -> None:
    """Add what ``update`` needs to ``model``, in place, as ``model.auxiliary``; most updates need nothing.

    Every parameter is drawn from the stream of its own name, so the model's own tensors stay what they were.

    Parameters
    ----------
    model : nn.Module
        The model.
    update : NeedsModules
        The client update.
    input_shape : tuple of int
        Shape of one input, without the batch.
    seed : int
        The ``init`` seed.

    Raises
    ------
    UsageError
        The model has a part called ``auxiliary`` already, or is not one that the update can use.
    """
    with torch.random.fork_rng(devices=[]):
        modules = update.modules(model, input_shape)
    if not modules:
        return
    if hasattr(model, AUXILIARY):
        raise UsageError(
            f"{type(model).__name__} has a part called {AUXILIARY!r}, a name kept for {type(update).__name__}; "
            "rename it in the model."
        )
    holder = nn.Module()
    holder.add_module(AUXILIARY, nn.ModuleDict(modules))
    draw_by_name(holder, seed)
    model.add_module(AUXILIARY, holder.get_submodule(AUXILIARY))
