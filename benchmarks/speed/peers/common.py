"""What every peer starts from (data, initial weights, local work) and what it hands back."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.speed.peers.nets import make_net


@dataclass(frozen=True)
class Task:
    """One case: who holds what, the initial weights and the local work.

    Attributes
    ----------
    folder : Path
        Where the arrays are.
    model : str
        ``logistic``, ``mlp``, ``cnn`` or ``resnet18_gn``.
    batch_size, epochs : int
        Local work of a client in a round.
    lr, mu : float
        Learning rate of plain SGD and strength of the proximal term; 0 is FedAvg.
    cohort : int
        Clients a round.
    seed : int
        Seed of cohorts and minibatches.
    """

    folder: Path
    model: str
    batch_size: int
    epochs: int
    lr: float
    mu: float
    cohort: int
    seed: int

    @classmethod
    def read(cls, folder: Path) -> Task:
        """Read ``task.json``."""
        return cls(folder, **json.loads((folder / "task.json").read_text()))

    def array(self, name: str) -> NDArray[Any]:
        """Return an array of the task, mapped into memory."""
        found: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return found

    def cohorts(self) -> NDArray[np.int64]:
        """Return the clients of each round, ``(rounds, cohort)``, as fedbal samples them."""
        return np.load(self.folder / "cohorts.npy")  # type: ignore[no-any-return]

    def initial(self) -> list[NDArray[np.float32]]:
        """Return the initial weights in the order of the layers."""
        with np.load(self.folder / "initial.npz") as file:
            return [file[f"w{number}"] for number in range(len(file.files))]


class Clients:
    """All rows as tensors on one device, and each client's row numbers.

    Parameters
    ----------
    task : Task
        The case.
    device : str
        Where the rows live.
    """

    def __init__(self, task: Task, device: str = "cpu") -> None:
        self.x = torch.from_numpy(np.array(task.array("x"))).to(device)
        self.y = torch.from_numpy(np.array(task.array("y"))).to(device)
        self._rows, self._offsets = task.array("rows"), np.array(task.array("offsets"))
        self.sizes = np.diff(self._offsets)

    def rows(self, client: int) -> NDArray[np.int64]:
        """Return the rows of a client."""
        return np.array(self._rows[self._offsets[client] : self._offsets[client + 1]])


def train(
    net: nn.Module, start: Sequence[Tensor], clients: Clients, client: int, task: Task, server_round: int
) -> list[Tensor]:
    """Train one client with functional gradients and one fused update a step; returns the resident weights.

    Parameters
    ----------
    net : nn.Module
        A resident network, overwritten with ``start`` first.
    start : sequence of Tensor
        Weights of the global model.
    clients : Clients
        All data.
    client : int
        Whose turn it is.
    task : Task
        Local work.
    server_round : int
        Round; with the client and the seed it decides the minibatches.
    """
    weights: list[Tensor] = list(net.parameters())
    draw = np.random.default_rng((task.seed, server_round, client))
    rows = clients.rows(client)
    begin: list[Tensor] = list(start)
    with torch.no_grad():
        torch._foreach_copy_(weights, begin)
    for _ in range(task.epochs):
        order = torch.from_numpy(draw.permutation(rows)).to(clients.x.device)
        for batch in torch.split(order, task.batch_size):
            x, y = clients.x.index_select(0, batch), clients.y.index_select(0, batch)
            loss = nn.functional.cross_entropy(net(x), y)
            gradients = list(torch.autograd.grad(loss, weights))
            with torch.no_grad():
                if task.mu:
                    drift = torch._foreach_sub(weights, begin)
                    torch._foreach_add_(gradients, list(drift), alpha=task.mu)
                torch._foreach_add_(weights, gradients, alpha=-task.lr)
    return weights


@torch.no_grad()
def evaluate(net: nn.Module, weights: Sequence[Tensor], task: Task, device: str = "cpu") -> dict[str, float]:
    """Return accuracy and mean cross-entropy on the test rows."""
    torch._foreach_copy_(list(net.parameters()), list(weights))
    x = torch.from_numpy(np.array(task.array("x_test"))).to(device)
    y = torch.from_numpy(np.array(task.array("y_test"))).to(device)
    logits = torch.cat([net(part) for part in torch.split(x, 512)])
    loss = nn.functional.cross_entropy(logits, y)
    return {"accuracy": float((logits.argmax(1) == y).double().mean()), "loss": float(loss)}


def resident(task: Task, device: str = "cpu") -> tuple[nn.Module, list[Tensor]]:
    """Return the network of a task and a copy of its initial weights."""
    initial = task.initial()
    net = make_net(task.model, [value.shape for value in initial], task.array("x").shape[1:]).to(device)
    start = [torch.from_numpy(value).to(device) for value in initial]
    with torch.no_grad():
        torch._foreach_copy_(list(net.parameters()), start)
    return net, start


def peer(run: Callable[[Task, argparse.Namespace], dict[str, Any]], arguments: Sequence[str]) -> None:
    """Read the arguments that all peers share, run, write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--num-cpus", type=float, default=1.0, help="flower: CPUs of one actor")
    parser.add_argument("--num-gpus", type=float, default=0.0, help="flower: share of the GPU of one actor")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result = run(Task.read(given.task), given)
    if given.device.startswith("cuda"):
        result.setdefault("gpu_bytes", torch.cuda.max_memory_reserved())
    given.out.write_text(json.dumps(result))


def now(device: str = "cpu") -> float:
    """Return the wall clock, after what the device still has to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.time()
