"""Local SGD with a proximal term, the client side of FedProx.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous Networks", MLSys 2020,
arXiv 1812.06127, equation (2): the client approximately minimises

    h_k(w; w^t) = F_k(w) + (mu / 2) ||w - w^t||^2,

with w^t the received model, so that a local step is ``w <- w - lr * (g + mu * (w - w^t))``. The norm runs over
all trainable parameters. ``mu = 0`` is the standard update bit for bit.
"""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from clients.base import Batch, ClientUpdate, Criterion, Forward, Frozen, LocalRound, Tensors
from fedbal.protocol import PROXIMAL_MU


class Proximal(ClientUpdate):
    """Minimise the criterion plus ``mu / 2`` times the squared distance to the received model.

    Parameters
    ----------
    criterion : Criterion
        The loss on logits.
    mu : float (default: 1.0)
        Proximal coefficient, >= 0. A server may set it for a round by sending ``proximal-mu``.
    """

    def __init__(self, criterion: Criterion, mu: float = 1.0) -> None:
        super().__init__(criterion)
        if mu < 0.0:
            raise ValueError(f"mu must be >= 0, got {mu}")
        self.mu = mu

    def coefficient(self, local: LocalRound) -> float:
        """Return the coefficient of a round: the server's, or the client's own."""
        return float(local.config.get(PROXIMAL_MU, self.mu))  # type: ignore[arg-type]

    def before(self, local: LocalRound) -> Frozen:
        """Keep the received model and the round's coefficient; nothing when the term vanishes."""
        mu = self.coefficient(local)
        return {"anchor": local.received, "mu": torch.tensor(mu)} if mu > 0.0 else {}

    def loss(self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen) -> Tensor:
        """Return the criterion plus the proximal term."""
        loss = self.criterion(forward(params, batch.x), batch)
        if not frozen:
            return loss
        anchor = frozen["anchor"]
        # One kernel a tensor there and one back; subtracting, squaring and summing by hand takes seven.
        parts = [F.mse_loss(value, anchor[name], reduction="sum") for name, value in params.items()]
        mu: Tensor = frozen["mu"]
        return loss + 0.5 * mu * reduce(torch.add, parts)
