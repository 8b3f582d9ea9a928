"""Local optimizers as functions of parameters, gradients and their own state."""

from __future__ import annotations

from typing import Protocol

import torch

from clients.base import Tensors


class Optimizer(Protocol):
    """A local optimizer; its state starts empty in every round."""

    def init(self, params: Tensors) -> Tensors:
        """Return the state for fresh local training."""
        ...

    def step(self, params: Tensors, gradients: Tensors, state: Tensors) -> None:
        """Advance ``params`` and ``state`` in place by one step."""
        ...


class SGD:
    """Stochastic gradient descent, the arithmetic of ``torch.optim.SGD`` without dampening or Nesterov.

    ``g <- g + weight_decay * w``; ``v <- momentum * v + g``; ``w <- w - lr * v``.

    Parameters
    ----------
    lr : float (default: 0.1)
        Learning rate, > 0.
    momentum : float (default: 0.0)
        In [0, 1).
    weight_decay : float (default: 0.0)
        L2 coefficient, >= 0.
    """

    def __init__(self, lr: float = 0.1, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        if lr <= 0.0 or not 0.0 <= momentum < 1.0 or weight_decay < 0.0:
            raise ValueError(
                f"need lr > 0, 0 <= momentum < 1, weight_decay >= 0; got {lr}, {momentum}, {weight_decay}"
            )
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay

    def init(self, params: Tensors) -> Tensors:
        """Start with zero velocity, which equals torch's first step."""
        return {name: torch.zeros_like(value) for name, value in params.items()} if self.momentum else {}

    @torch.no_grad()
    def step(self, params: Tensors, gradients: Tensors, state: Tensors) -> None:
        """Advance every parameter in place."""
        for name, value in params.items():
            gradient = gradients[name]
            if self.weight_decay:
                gradient = gradient.add(value, alpha=self.weight_decay)
            if self.momentum:
                gradient = state[name].mul_(self.momentum).add_(gradient)
            value.sub_(gradient, alpha=self.lr)
