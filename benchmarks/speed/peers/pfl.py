"""pfl-research in one process: its backend, its model wrapper, its FederatedAveraging or FedProx.

Users are made from index lists as they are sampled, in a fresh order, as pfl's own benchmarks do; evaluation is
left to the end. pfl evaluates in its first iteration, which no figure uses.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.algorithm.fedprox import FedProx, FedProxParams
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn

from benchmarks.speed.peers.common import Clients, Task, evaluate, now, peer, resident


def main(arguments: Sequence[str]) -> None:
    """Run the peer."""
    peer(run, arguments)


def run(task: Task, given: argparse.Namespace) -> dict[str, Any]:
    """Train and return the end of every round, accuracy and loss."""
    os.environ["PFL_PYTORCH_DEVICE"] = given.device
    # pfl draws from NumPy's global generator.
    np.random.seed(task.seed)  # noqa: NPY002
    net, _ = resident(task, given.device)
    clients = Clients(task, given.device)
    wrapped = Wrapped(net)
    model = PyTorchModel(wrapped, torch.optim.SGD, torch.optim.SGD(wrapped.parameters(), lr=1.0))
    order = task.cohorts()[: given.rounds].ravel().tolist()[::-1]
    users = FederatedDataset(_Users(clients, task.seed), order.pop)
    backend = SimulatedBackend(users, users, postprocessors=[WeightByDatapoints()])
    common = {
        "central_num_iterations": given.rounds,
        "evaluation_frequency": given.rounds + 1,
        "train_cohort_size": task.cohort,
        "val_cohort_size": 0,
    }
    local = NNTrainHyperParams(
        local_batch_size=task.batch_size, local_num_epochs=task.epochs, local_learning_rate=task.lr
    )
    ends = _Ends(given.device)
    if task.mu:
        algorithm, parameters = FedProx(), FedProxParams(mu=task.mu, **common)
    else:
        algorithm, parameters = FederatedAveraging(), NNAlgorithmParams(**common)
    algorithm.run(parameters, backend, model, local, NNEvalHyperParams(local_batch_size=None), [ends])
    weights = [parameter.detach().clone() for parameter in net.parameters()]
    return {"ends": ends.times, **evaluate(net, weights, task, given.device)}


class Wrapped(nn.Module):
    """A network with the two methods that pfl asks for."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross-entropy."""
        return nn.functional.cross_entropy(self.net(x), y)

    @torch.no_grad()
    def metrics(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        """Return the loss as pfl's weighted metric."""
        return {"loss": Weighted(float(self.loss(x, y)) * len(y), len(y))}


class _Users:
    """Makes the data set of one user."""

    def __init__(self, clients: Clients, seed: int) -> None:
        self._clients, self._draw = clients, np.random.default_rng(seed)

    def __call__(self, user: int) -> Dataset:
        clients = self._clients
        rows = torch.from_numpy(self._draw.permutation(clients.rows(user))).to(clients.x.device)
        return Dataset((clients.x.index_select(0, rows), clients.y.index_select(0, rows)), user_id=str(user))


class _Ends(TrainingProcessCallback):  # type: ignore[misc]
    """Notes when each iteration ends."""

    def __init__(self, device: str) -> None:
        self._device, self.times = device, list[float]()

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        """Note the time."""
        self.times.append(now(self._device))
        return False, Metrics()
