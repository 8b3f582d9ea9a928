"""TemplateName: a client update; replace this line with what yours does.

Authors, "Title", venue and year. Client k minimises, over its own minibatches,

    h_k(w) = F_k(w) - beta * mean_i H(p_i),

with ``F_k`` the client's loss and ``H(p_i)`` the entropy in nats of what the model predicts for sample i: a client
with few classes is kept from being too sure of them. ``beta = 0`` is the standard update.

Run it:    fedbal run quickstart --set client.update=./template_name.py:TemplateName
Check it:  fedbal check ./template_name.py:TemplateName
"""

from __future__ import annotations

import torch
from torch import Tensor

from clients.base import Batch, ClientUpdate, Criterion, Forward, Frozen, LocalRound, Tensors


# The new term as a pure function on logits: easy to test against numbers worked out by hand.
def template_name_entropy(logits: Tensor) -> Tensor:
    """Return the entropy in nats of each prediction.

    Parameters
    ----------
    logits : Tensor, shape (b, classes)
        Model outputs.

    Returns
    -------
    Tensor, shape (b,)
        From 0 to ln(classes).
    """
    logs = torch.log_softmax(logits, 1)
    return -(logs.exp() * logs).sum(1)


class TemplateName(ClientUpdate):
    """Subtracts ``beta`` times the mean entropy of the predictions from the loss.

    Parameters
    ----------
    criterion : Criterion
        The loss that the scenario names under ``client.loss``.
    beta : float (default: 0.1)
        Strength, >= 0; 0 is the standard update. In a scenario: ``client: {update: {name: ..., beta: 0.1}}``.
    """

    def __init__(self, criterion: Criterion, beta: float = 0.1) -> None:
        super().__init__(criterion)
        if beta < 0.0:
            raise ValueError(f"beta must be >= 0, got {beta}")
        self.beta = beta

    def before(self, local: LocalRound) -> Frozen:
        """Make what stays fixed during this round, once, as tensors: class counts, the received model, ..."""
        # For the distance to the received model, for instance: return {"anchor": local.received}
        return {}

    # Pure: it reads its arguments, writes to none of them and draws nothing at random.
    def loss(self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen) -> Tensor:
        """Return the loss of one minibatch, a scalar."""
        logits = forward(params, batch.x)
        entropy = template_name_entropy(logits)
        # A batch may be padded with rows of weight 0; they must count for nothing.
        weight = torch.ones_like(entropy) if batch.weight is None else batch.weight
        mean = (entropy * weight).sum() / weight.sum().clamp_min(1.0)
        return self.criterion(logits, batch) - self.beta * mean
