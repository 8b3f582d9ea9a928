"""The ceiling on a GPU: the steps of the same rounds on pooled rows, with no clients, no mean, no messages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.speed.peers.common import Clients, Task, now, peer, resident


def main(arguments: Sequence[str]) -> None:
    """Run the peer."""
    peer(run, arguments)


def run(task: Task, given: argparse.Namespace) -> dict[str, Any]:
    """Do as many samples a round as a cohort does, in one batch for the whole cohort at each local step.

    The arithmetic is that of the cohort, the parallelism the best that one model allows; another training of the
    same amount, so it has no accuracy to compare.
    """
    net, _ = resident(task, given.device)
    clients = Clients(task, given.device)
    weights: list[torch.Tensor] = list(net.parameters())
    samples = int(clients.sizes.mean() * task.cohort * task.epochs)
    batch, ends = task.batch_size * task.cohort, []
    for _ in range(given.rounds):
        order = torch.randint(len(clients.y), (samples,), device=clients.x.device)
        for rows in torch.split(order, batch):
            x, y = clients.x.index_select(0, rows), clients.y.index_select(0, rows)
            gradients = torch.autograd.grad(nn.functional.cross_entropy(net(x), y), weights)
            with torch.no_grad():
                torch._foreach_add_(weights, list(gradients), alpha=-task.lr)
        ends.append(now(given.device))
    return {"ends": ends}
