"""A projection head beside the classifier: it travels and is averaged with the model, predictions ignore it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedbal.errors import UsageError
from fedbal.protocol import AUXILIARY

PROJECTION = "projection"
HEAD = f"{AUXILIARY}.{PROJECTION}."
"""What the names of the projection head's tensors begin with."""


def project(params: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """Apply the head found in ``params``: linear layers in order of their names, ReLU between them."""
    layers = sorted({int(name[len(HEAD) :].split(".")[0]) for name in params if name.startswith(HEAD)})
    z = features.flatten(1)
    for position, layer in enumerate(layers):
        z = F.linear(
            z.relu() if position else z, params[f"{HEAD}{layer}.weight"], params.get(f"{HEAD}{layer}.bias")
        )
    return z


@torch.no_grad()
def feature_size(model: nn.Module, input_shape: tuple[int, ...], update: str) -> int:
    """Return how many features ``model.features`` gives for one input, flattened.

    Parameters
    ----------
    model : nn.Module
        The model; it tells the number as ``feature_size``, or one forward pass does.
    input_shape : tuple of int
        Shape of one input, without the batch.
    update : str
        Name of the client update, for the message.

    Raises
    ------
    UsageError
        The model has no ``features`` and ``classifier``.
    """
    if not hasattr(model, "features") or not hasattr(model, "classifier"):
        raise UsageError(
            f"client.update {update}: {type(model).__name__} has no `features` and `classifier`; give the model "
            "these two modules, forward(x) being classifier(features(x)), or choose a shipped model."
        )
    known = getattr(model, "feature_size", None)
    if known:
        return int(known)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    features: Tensor = model.features(torch.zeros(2, *input_shape))  # type: ignore[operator]
    for module, training in modes:
        module.training = training
    return features.flatten(1).shape[1]
