"""Numbers over all training data of a client, in order and without augmentation, the model in evaluation mode."""

from __future__ import annotations

import math

import torch
from torch import nn

from clients.base import Batch, Criterion, LocalRound, Tensors
from clients.functional import ModelFunction
from clients.losses import class_prior
from clients.training import split_state


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
    model.eval()
    forward = ModelFunction(model)
    total = torch.zeros((), dtype=torch.float64, device=local.data.train.pool.device)
    for x, y in local.data.train.batches(512):
        total += criterion(forward(local.received, x), Batch(x, y, None, prior)).to(torch.float64) * len(y)
    return float(total) / max(len(local.data.train), 1)


def mean_gradient(model: nn.Module, criterion: Criterion, local: LocalRound, state: Tensors) -> Tensors:
    """Return the gradient of the criterion's mean over the client's training samples.

    Parameters
    ----------
    model : nn.Module
        Structure, and the tensors that no message brings.
    criterion : Criterion
        The loss that the client trains with.
    local : LocalRound
        The client's round.
    state : Tensors
        Where to differentiate.

    Returns
    -------
    Tensors
        One gradient for each trainable parameter, float64.
    """
    model.eval()
    params, buffers = split_state(model, state)
    forward, prior, n = ModelFunction(model, buffers), class_prior(criterion, local), len(local.data.train)
    leaves = {name: value.requires_grad_() for name, value in params.items()}
    total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in leaves.items()}
    for x, y in local.data.train.batches(512):
        loss = criterion(forward(leaves, x), Batch(x, y, None, prior)) * (len(y) / n)
        for name, part in zip(total, torch.autograd.grad(loss, list(leaves.values())), strict=True):
            total[name] += part.to(torch.float64)
    return total


def inexactness(
    model: nn.Module, criterion: Criterion, local: LocalRound, trained: Tensors, mu: float
) -> float:
    """Return FedProx's gamma, how far local training is from solving the local problem.

    Li et al., MLSys 2020, definition 2: ``||grad h(w_k; w)|| / ||grad h(w; w)||`` with
    ``h(v; w) = F_k(v) + mu / 2 ||v - w||^2``; smaller is more exact, 0 is a solution. Costs two full gradients.

    Parameters
    ----------
    model : nn.Module
        Structure, and the tensors that no message brings.
    criterion : Criterion
        The loss that the client trains with.
    local : LocalRound
        The client's round.
    trained : Tensors
        What local training ended with.
    mu : float
        Proximal coefficient of the round, >= 0.
    """
    before = mean_gradient(model, criterion, local, local.received)
    after = mean_gradient(model, criterion, local, trained)
    pulled = {
        name: value + mu * (trained[name].to(torch.float64) - local.received[name].to(torch.float64))
        for name, value in after.items()
    }
    start = squared_norm(before)
    return math.sqrt(squared_norm(pulled) / start) if start > 0.0 else 0.0


def squared_norm(tensors: Tensors) -> float:
    """Return the sum of all squares."""
    return float(sum(value.square().sum() for value in tensors.values()))
