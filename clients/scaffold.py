"""SCAFFOLD's local steps: gradients corrected by control variates.

Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020, arXiv 1910.06378,
Algorithm 1 with option II: ``y <- y - lr (g + c - c_k)``; after tau steps ``c_k' = c_k - c + (w - y) / (tau lr)``.
The correction enters as the linear term ``<c - c_k, y>`` of the loss, whose gradient it is. Option II takes the
travelled distance for the sum of gradients, which holds for plain SGD. Momentum rho carries a constant gradient
further than tau steps, by FedNova's ``a_k``, which takes the place of tau here: tau itself would overrate them by
up to 1 / (1 - rho) and diverge. Weight decay still blurs them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from clients.base import Batch, ClientUpdate, Forward, Frozen, LocalRound, Tensors
from clients.normalised import normalised_steps
from clients.records import encode, floating_like
from fedbal.protocol import CONTROL, CONTROL_DELTA


class Scaffold(ClientUpdate):
    """Minimise the criterion along corrected gradients; keeps its control between rounds."""

    def before(self, local: LocalRound) -> Frozen:
        """Take the correction ``c - c_k`` from the message and the client's state."""
        server, own = _controls(local)
        return {"correction": {name: server[name] - own[name] for name in server}}

    def loss(self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen) -> Tensor:
        """Return the criterion plus the linear term."""
        correction: Mapping[str, Tensor] = frozen["correction"]
        linear = torch.stack([(value * correction[name]).sum() for name, value in params.items()]).sum()
        return self.criterion(forward(params, batch.x), batch) + linear

    def records(self, local: LocalRound, trained: Tensors) -> Mapping[str, Tensors]:
        """Renew the client's control and send its change."""
        server, own = _controls(local)
        progress = local.progress
        scale = normalised_steps(progress.steps, progress.momentum) * progress.learning_rate
        if scale <= 0.0:
            raise ValueError("SCAFFOLD needs at least one local step and an optimizer with a learning rate")
        change = {name: (local.received[name] - trained[name]) / scale - server[name] for name in server}
        renewed = {name: own[name] + change[name] for name in server}
        local.state[CONTROL] = encode(renewed)
        return {CONTROL_DELTA: change}


def _controls(local: LocalRound) -> tuple[Tensors, Tensors]:
    """Return the server's control and the client's; both start at 0."""
    server = floating_like(local.records, CONTROL, local.received)
    return server, floating_like(local.state, CONTROL, local.received)
