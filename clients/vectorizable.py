"""Whether the clients of a scenario can be trained at once, and if not, why."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from clients.base import ClientUpdate
from clients.groups import shared_names, training_mode
from clients.trainer import Trainer


def obstacle(trainer: Trainer) -> str | None:
    """Return in words what forbids to train many clients at once; None: nothing that can be told beforehand."""
    update, optimizer = trainer.update, trainer.optimizer
    if type(update).step is not ClientUpdate.step:
        return f"the client update {type(update).__name__} has local steps of its own"
    if not getattr(optimizer, "elementwise", False):
        return f"the optimizer {type(optimizer).__name__} does not declare `elementwise = True`"
    return _of_model(trainer.model)


def _of_model(model: nn.Module) -> str | None:
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
