"""Local optimizers as functions of parameters, gradients and their own state."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from clients.base import Tensors


class Optimizer(Protocol):
    """A local optimizer; its state starts empty in every round.

    One that treats every number by itself, with a state of tensors like the parameters or without axes, may declare
    ``elementwise = True``: then it can step the stacked parameters of many clients at once.
    """

    def init(self, params: Tensors) -> Tensors:
        """Return the state for fresh local training."""
        ...

    def step(self, params: Tensors, gradients: Tensors, state: Tensors) -> None:
        """Advance ``params`` and ``state`` in place by one step."""
        ...


class SGD:
    """Stochastic gradient descent, the arithmetic of ``torch.optim.SGD`` without dampening.

    ``g <- g + weight_decay * w``; ``v <- momentum * v + g``; ``w <- w - lr * v``, with Nesterov's momentum
    ``w <- w - lr * (g + momentum * v)``.

    Parameters
    ----------
    lr : float (default: 0.1)
        Learning rate, > 0.
    momentum : float (default: 0.0)
        In [0, 1).
    weight_decay : float (default: 0.0)
        L2 coefficient, >= 0.
    nesterov : bool (default: False)
        Look ahead along the velocity; needs momentum > 0.
    """

    elementwise = True
    """Whether every number is treated by itself, so that stacked parameters of clients can be stepped at once."""

    def __init__(
        self, lr: float = 0.1, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False
    ) -> None:
        if lr <= 0.0 or not 0.0 <= momentum < 1.0 or weight_decay < 0.0:
            raise ValueError(
                f"need lr > 0, 0 <= momentum < 1, weight_decay >= 0; got {lr}, {momentum}, {weight_decay}"
            )
        if nesterov and not momentum:
            raise ValueError("nesterov needs momentum > 0")
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.nesterov = nesterov

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
                velocity = state[name].mul_(self.momentum).add_(gradient)
                gradient = gradient.add(velocity, alpha=self.momentum) if self.nesterov else velocity
            value.sub_(gradient, alpha=self.lr)


class Adam:
    """Adam, the arithmetic of ``torch.optim.Adam``; moments start at zero in every round.

    Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, Algorithm 1:
    ``m <- b1 * m + (1 - b1) * g``; ``v <- b2 * v + (1 - b2) * g^2``;
    ``w <- w - lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)``.

    Parameters
    ----------
    lr : float (default: 0.001)
        Learning rate, > 0.
    beta1, beta2 : float (default: 0.9, 0.999)
        Decay of the two moments, in [0, 1).
    eps : float (default: 1e-8)
        Added to the denominator, > 0.
    weight_decay : float (default: 0.0)
        L2 coefficient added to the gradient, >= 0.
    """

    elementwise = True
    """Whether every number is treated by itself, so that stacked parameters of clients can be stepped at once."""
    decoupled = False
    """Whether weight decay shrinks the weights instead of joining the gradient."""

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if lr <= 0.0 or not 0.0 <= beta1 < 1.0 or not 0.0 <= beta2 < 1.0 or eps <= 0.0 or weight_decay < 0.0:
            raise ValueError(
                "need lr > 0, 0 <= beta1 < 1, 0 <= beta2 < 1, eps > 0, weight_decay >= 0; "
                f"got {lr}, {beta1}, {beta2}, {eps}, {weight_decay}"
            )
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self.weight_decay = weight_decay

    def init(self, params: Tensors) -> Tensors:
        """Start with zero moments and no step done."""
        state = {}
        for name, value in params.items():
            state[f"mean|{name}"] = torch.zeros_like(value)
            state[f"square|{name}"] = torch.zeros_like(value)
            state[f"steps|{name}"] = torch.zeros((), dtype=torch.float64, device=value.device)
        return state

    @torch.no_grad()
    def step(self, params: Tensors, gradients: Tensors, state: Tensors) -> None:
        """Advance every parameter and its moments in place."""
        for name, value in params.items():
            gradient = gradients[name]
            if self.weight_decay and self.decoupled:
                value.mul_(1.0 - self.lr * self.weight_decay)
            elif self.weight_decay:
                gradient = gradient.add(value, alpha=self.weight_decay)
            steps = state[f"steps|{name}"].add_(1.0)
            mean = state[f"mean|{name}"].mul_(self.beta1).add_(gradient, alpha=1.0 - self.beta1)
            square = state[f"square|{name}"].mul_(self.beta2).add_(gradient.square(), alpha=1.0 - self.beta2)
            rate = (self.lr / (1.0 - self.beta1**steps)).to(value.dtype)
            correction = (1.0 - self.beta2**steps).sqrt().to(value.dtype)
            value.sub_(rate * mean / (square.sqrt() / correction + self.eps))


class AdamW(Adam):
    """Adam with decoupled weight decay, the arithmetic of ``torch.optim.AdamW``.

    Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, Algorithm 2:
    ``w <- w - lr * weight_decay * w`` beside Adam's step on the plain gradient.

    Parameters
    ----------
    lr, beta1, beta2, eps : float
        As in :class:`Adam`.
    weight_decay : float (default: 0.01)
        Decay coefficient, >= 0; 0 is Adam.
    """

    decoupled = True

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, beta1, beta2, eps, weight_decay)


def clip(gradients: Tensors, max_norm: float) -> Tensors:
    """Scale gradients so that their joint L2 norm is at most ``max_norm``; pure, so it can be mapped over clients.

    The numbers are those of ``torch.nn.utils.clip_grad_norm_``: the factor is
    ``min(1, max_norm / (norm + 1e-6))`` with one norm over all parameters.

    Parameters
    ----------
    gradients : Tensors
        One gradient a parameter.
    max_norm : float
        Largest norm, > 0.
    """
    norms: list[Tensor] = [torch.linalg.vector_norm(value) for value in gradients.values()]
    total = torch.linalg.vector_norm(torch.stack(norms))
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    return {name: value * factor for name, value in gradients.items()}
