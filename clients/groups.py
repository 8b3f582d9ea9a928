"""Which tensors of a model travel: the shared ones do, the frozen ones stay where they are.

A parameter is frozen when it needs no gradient. A buffer follows the parameters it serves: it is frozen when all
parameters of the smallest module around it that has any are frozen.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def shared_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the tensors that messages carry, in the order of the model's ``state_dict``."""
    frozen = {
        name: not parameter.requires_grad
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }
    names = model.state_dict().keys()
    if not any(frozen.values()):
        return tuple(names)
    return tuple(
        name for name in names if not (frozen[name] if name in frozen else _serves_frozen(name, frozen))
    )


def training_mode(model: nn.Module) -> None:
    """Put a model into training mode, except modules whose own tensors are all frozen.

    A frozen normalisation layer goes on normalising with the statistics it was frozen with and never updates
    them; dropout, which holds no tensor, stays on everywhere.
    """
    model.train()
    if all(parameter.requires_grad for parameter in model.parameters()):
        return
    names, travelling = set(model.state_dict()), set(shared_names(model))
    for prefix, module in model.named_modules():
        start = f"{prefix}." if prefix else ""
        tensors = (*module._parameters, *module._buffers)
        own = {f"{start}{name}" for name in tensors} & names
        if own and not own & travelling:
            module.training = False


def _serves_frozen(buffer: str, frozen: Mapping[str, bool]) -> bool:
    prefix = buffer
    while prefix:
        prefix = prefix.rpartition(".")[0]
        start = f"{prefix}." if prefix else ""
        around = [value for name, value in frozen.items() if name.startswith(start)]
        if around:
            return all(around)
    return False
