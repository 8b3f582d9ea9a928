"""Flower's own simulation engine with its own FedAvg; the ClientApp trains as the hand-written loop does.

What an actor can keep (data, network) it keeps, so that only the engine differs.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.speed.peers.common import Clients, Task, evaluate, now, peer, resident, train


def main(arguments: Sequence[str]) -> None:
    """Run the peer."""
    peer(run, arguments)


def run(task: Task, given: argparse.Namespace) -> dict[str, Any]:
    """Train and return the end of every round, accuracy and loss."""
    clients = len(task.array("offsets")) - 1
    result: dict[str, Any] = {"ends": []}
    resources = {"num_cpus": given.num_cpus, "num_gpus": given.num_gpus}
    run_simulation(
        server_app(task, given.rounds, clients, result),
        client_app(task.folder, given.device),
        clients,
        backend_config={"client_resources": resources, "init_args": {"include_dashboard": False}},
    )
    return result


def server_app(task: Task, rounds: int, clients: int, result: dict[str, Any]) -> ServerApp:
    """Return FedAvg for ``rounds``; ``result`` receives what is measured."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        random.seed(task.seed)
        strategy = Told(
            task.cohorts(),
            fraction_train=task.cohort / clients,
            fraction_evaluate=0.0,
            min_train_nodes=task.cohort,
            min_available_nodes=clients,
        )

        def after(server_round: int, arrays: ArrayRecord) -> None:
            if server_round:
                result["ends"].append(now())

        final = strategy.start(grid, to_record(task.initial()), num_rounds=rounds, evaluate_fn=after)
        net, _ = resident(task)
        result.update(evaluate(net, to_tensors(final.arrays), task))

    return app


class Told(FedAvg):
    """FedAvg that says whose data each sampled node holds, so that cohorts are those of the other rows.

    Parameters
    ----------
    cohorts : ndarray, shape (rounds, cohort)
        Clients of each round.
    **options
        As for FedAvg.
    """

    def __init__(self, cohorts: np.ndarray[Any, Any], **options: Any) -> None:
        super().__init__(**options)
        self._cohorts = cohorts

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Sample nodes as FedAvg does and give each a client of the round."""
        messages = list(super().configure_train(server_round, arrays, config, grid))
        for message, client in zip(messages, self._cohorts[server_round - 1], strict=True):
            told = ConfigRecord({"server-round": server_round, "client": int(client)})
            message.content = RecordDict({"arrays": arrays, "config": told})
        return messages


def client_app(folder: Path, device: str) -> ClientApp:
    """Return the app that all clients share."""
    app = ClientApp()

    @app.train()
    def train_client(message: Message, context: Context) -> Message:
        task, net, clients = _kept(folder, device)
        start = [value.to(device) for value in to_tensors(message.content["arrays"])]
        told = message.content["config"]
        client, server_round = cast(int, told["client"]), cast(int, told["server-round"])
        trained = train(net, start, clients, client, task, server_round)
        content = RecordDict(
            {
                "arrays": to_record([value.detach().cpu().numpy() for value in trained]),
                "metrics": MetricRecord({"num-examples": int(clients.sizes[client])}),
            }
        )
        return Message(content=content, reply_to=message)

    return app


@lru_cache(maxsize=1)
def _kept(folder: Path, device: str) -> tuple[Task, torch.nn.Module, Clients]:
    """Return what stays in the actor between its clients."""
    torch.set_num_threads(1)
    task = Task.read(folder)
    return task, resident(task, device)[0], Clients(task, device)


def to_record(arrays: Sequence[np.ndarray[Any, Any]]) -> ArrayRecord:
    """Return arrays as a Flower record."""
    return ArrayRecord({f"w{number}": Array(value) for number, value in enumerate(arrays)})


def to_tensors(record: Any) -> list[torch.Tensor]:
    """Return the tensors of a Flower record."""
    # Flower's mean of float32 arrays may come back as float64.
    return [torch.from_numpy(value.numpy().astype(np.float32)) for value in record.values()]
