"""Numbers over all training data of a client, in order and without augmentation, the model in evaluation mode."""

from __future__ import annotations

import torch
from torch import nn

from clients.base import Batch, Criterion, LocalRound
from clients.losses import class_prior
from clients.training import predict


@torch.no_grad()
def mean_loss(model: nn.Module, criterion: Criterion, local: LocalRound) -> float:
    """Return the criterion of the received model, the mean over the client's training samples.

    The received model is never written to, so that it does not matter whether training has been.

    Parameters
    ----------
    model : nn.Module
        Structure, and the tensors that no message brings.
    criterion : Criterion
        The loss that the client trains with.
    local : LocalRound
        The client's round.
    """
    if not local.received:
        raise ValueError("the loss of the received model is asked for, and no model came along")
    prior = class_prior(criterion, local)
    total = torch.zeros((), dtype=torch.float64, device=local.data.train.pool.device)
    for (x, y), (logits, _) in zip(
        local.data.train.batches(512), predict(model, local.received, local.data.train), strict=True
    ):
        total += criterion(logits, Batch(x, y, None, prior)).to(torch.float64) * len(y)
    return float(total) / max(len(local.data.train), 1)
