"""The loop that one would write by hand: a resident network, one client after another, a running mean.

With ``--workers 2`` the cohort is divided over two processes by samples, largest first, and the weighted sums
meet in shared memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor, multiprocessing

from benchmarks.speed.peers.common import Clients, Task, evaluate, now, peer, resident, train


def main(arguments: Sequence[str]) -> None:
    """Run the peer."""
    peer(run, arguments)


def run(task: Task, given: argparse.Namespace) -> dict[str, Any]:
    """Train and return the end of every round, accuracy and loss."""
    net, model = resident(task, given.device)
    clients = Clients(task, given.device)
    shared = [[_shared(torch.zeros_like(value)) for value in model] for _ in range(given.workers - 1)]
    if given.workers > 1:
        model = [_shared(value) for value in model]
    pipes = [_start(task, clients, model, total) for total in shared]
    ends = []
    for server_round, cohort in enumerate(task.cohorts()[: given.rounds], 1):
        parts = _split(cohort.tolist(), clients.sizes, given.workers)
        weight = 1.0 / float(clients.sizes[cohort].sum())
        for pipe, part in zip(pipes, parts[1:], strict=True):
            pipe.send((server_round, part, weight))
        total = [torch.zeros_like(value) for value in model]
        add(net, model, total, clients, parts[0], task, server_round, weight)
        for pipe, done in zip(pipes, shared, strict=True):
            pipe.recv()
            torch._foreach_add_(total, done)
        torch._foreach_copy_(model, total)
        ends.append(now(given.device))
    for pipe in pipes:
        pipe.send(None)
    return {"ends": ends, **evaluate(net, model, task, given.device)}


def add(
    net: torch.nn.Module,
    model: list[Tensor],
    total: list[Tensor],
    clients: Clients,
    part: Sequence[int],
    task: Task,
    server_round: int,
    weight: float,
) -> None:
    """Train some clients and add their weighted models to ``total``, in place."""
    for client in part:
        trained = train(net, model, clients, client, task, server_round)
        with torch.no_grad():
            torch._foreach_add_(total, trained, alpha=weight * float(clients.sizes[client]))


def _split(cohort: list[int], sizes: np.ndarray[Any, Any], workers: int) -> list[list[int]]:
    """Give each client, largest first, to the worker with least to do."""
    parts: list[list[int]] = [[] for _ in range(workers)]
    load = np.zeros(workers)
    for client in sorted(cohort, key=lambda one: -int(sizes[one])):
        worker = int(load.argmin())
        parts[worker].append(client)
        load[worker] += sizes[client]
    return parts


def _shared(value: Tensor) -> Tensor:
    shared: Tensor = value.share_memory_()  # type: ignore[no-untyped-call]
    return shared


def _start(task: Task, clients: Clients, model: list[Tensor], total: list[Tensor]) -> Connection:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    context.Process(target=_work, args=(there, task, clients, model, total), daemon=True).start()
    return here


def _work(pipe: Connection, task: Task, clients: Clients, model: list[Tensor], total: list[Tensor]) -> None:
    torch.set_num_threads(1)
    net, _ = resident(task)
    while (order := pipe.recv()) is not None:
        server_round, part, weight = order
        torch._foreach_zero_(total)
        add(net, model, total, clients, part, task, server_round, weight)
        pipe.send(True)
