"""Whether what a client computes is a function of tensors alone."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from clients.base import ClientUpdate
from clients.groups import shared_names, training_mode

OWN = ("clients", "fedbal", "torch")
"""Packages whose losses and layers keep nothing between calls."""


def model_obstacle(model: nn.Module) -> str | None:
    """Return in words why the model is more than a function of its parameters and input; None: it is not."""
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    others = [name for name in shared_names(model) if name not in trainable]
    if others:
        return (
            f"the model keeps tensors that are not trained by gradients or are shared by layers: {others[0]}"
        )
    was = [(module, module.training) for module in model.modules()]
    training_mode(model)
    dropout = [name for name, module in model.named_modules() if _draws(module)]
    for module, training in was:
        module.training = training
    return f"the model has dropout: {dropout[0]}" if dropout else None


def _draws(module: nn.Module) -> bool:
    if isinstance(module, nn.RNNBase):
        return module.training and module.dropout > 0.0
    return isinstance(module, _DropoutNd) and module.training and module.p > 0.0


def known_parts(model: nn.Module, update: ClientUpdate) -> bool:
    """Tell whether update, loss and layers are fedbal's or torch's; a user's might remember earlier calls."""
    return all(map(ours, (update, update.criterion, *model.modules())))


def ours(part: object) -> bool:
    """Tell whether the class of a part is fedbal's or torch's."""
    return type(part).__module__.partition(".")[0] in OWN
