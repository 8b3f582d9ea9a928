"""FedDyn's local objective: a linear and a proximal term that align local with global stationary points.

Acar, Zhao, Matas, Mattina, Whatmough, Saligrama, "Federated Learning Based on Dynamic Regularization", ICLR 2021,
arXiv 2111.04263: client k minimises ``F_k(y) - <h_k, y> + (alpha / 2) ||y - w||^2`` and then sets
``h_k <- h_k - alpha (y_k - w)``, starting from 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from clients.base import Batch, ClientUpdate, Criterion, Forward, Frozen, LocalRound, Tensors
from clients.records import encode, floating_like

STATE = "feddyn"


class FedDyn(ClientUpdate):
    """Minimise the dynamically regularised criterion; keeps its gradient estimate between rounds.

    Parameters
    ----------
    criterion : Criterion
        The loss on logits.
    alpha : float (default: 0.01)
        Regularisation, > 0; the same as the server's.
    """

    def __init__(self, criterion: Criterion, alpha: float = 0.01) -> None:
        super().__init__(criterion)
        if alpha <= 0.0:
            raise ValueError(f"alpha must be > 0, got {alpha}")
        self.alpha = alpha

    def before(self, local: LocalRound) -> Frozen:
        """Keep the received model and the client's gradient estimate."""
        return {"anchor": local.received, "gradient": floating_like(local.state, STATE, local.received)}

    def loss(self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen) -> Tensor:
        """Return the regularised criterion."""
        anchor, gradient = frozen["anchor"], frozen["gradient"]
        terms = [
            0.5 * self.alpha * (value - anchor[name]).square().sum() - (gradient[name] * value).sum()
            for name, value in params.items()
        ]
        return self.criterion(forward(params, batch.x), batch) + torch.stack(terms).sum()

    def after(self, local: LocalRound, trained: Tensors) -> Mapping[str, list[float]]:
        """Renew the client's gradient estimate."""
        renewed = {
            name: value - self.alpha * (trained[name] - local.received[name])
            for name, value in floating_like(local.state, STATE, local.received).items()
        }
        local.state[STATE] = encode(renewed)
        return {}
