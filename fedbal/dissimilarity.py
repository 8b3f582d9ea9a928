"""How much the clients' gradients differ at a model: FedProx's B and V.

Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, definition 3: with ``p_k = n_k / n``,
``f = sum_k p_k F_k`` and full-batch gradients,

    B = sqrt(sum_k p_k ||grad F_k||^2 / ||grad f||^2),    V = sum_k p_k ||grad F_k - grad f||^2,

so that ``B^2 = 1 + V / ||grad f||^2``; identical clients have B = 1 and V = 0. The official code prints V with
equal weights around the plain mean, given here as ``unweighted_variance``. It takes the gradients of all clients,
which only a simulation has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import ConfigRecord
from numpy.typing import ArrayLike

from clients.base import LocalRound
from clients.data import ClientData
from clients.trainer import Trainer
from clients.whole import mean_gradient, mean_loss
from fedbal import protocol
from fedbal.metrics import finite
from fedbal.protocol import Arrays


def dissimilarity(gradients: ArrayLike, num_examples: ArrayLike) -> dict[str, float | None]:
    """Return B, V and what they are made of.

    Parameters
    ----------
    gradients : array_like, shape (n, p)
        One flat gradient a client.
    num_examples : array_like, shape (n,)
        Samples of each client, positive.

    Returns
    -------
    dict
        ``B`` >= 1 (None where the mean gradient is 0), ``V``, ``gradient_norm`` of the mean, and
        ``unweighted_variance``.
    """
    rows, counts = np.asarray(gradients, np.float64), np.asarray(num_examples, np.float64)
    shares = counts / counts.sum()
    mean = shares @ rows
    norm = float(mean @ mean)
    variance = float(shares @ np.square(rows - mean).sum(axis=1))
    squares = float(shares @ np.square(rows).sum(axis=1))
    return {
        "B": finite(math.sqrt(squares / norm)) if norm > 0.0 else None,
        "V": finite(variance),
        "gradient_norm": finite(math.sqrt(norm)),
        "unweighted_variance": finite(float(np.square(rows - rows.mean(axis=0)).sum(axis=1).mean())),
    }


@dataclass(frozen=True)
class GradientProbe:
    """Measures the dissimilarity of clients at a model, with the loss that they train with.

    Attributes
    ----------
    trainer : Trainer
        How they train.
    clients : sequence of ClientData
        All clients with training data.
    class_counts : sequence of int
        Their training samples of each class.
    """

    trainer: Trainer
    clients: Sequence[ClientData]
    class_counts: Sequence[int]

    def __call__(self, arrays: Arrays) -> dict[str, float | None]:
        """Return the numbers at a model, and f there as ``loss``."""
        config = ConfigRecord({protocol.CLASS_COUNTS: list(self.class_counts)})
        trainer, rows, losses = self.trainer, [], []
        for data in self.clients:
            device = data.train.pool.device
            state = {name: torch.from_numpy(value).to(device) for name, value in arrays.items()}
            local = LocalRound(0, state, data, trainer.num_classes, config)
            gradient = mean_gradient(trainer.model, trainer.update.criterion, local, state)
            rows.append(torch.cat([value.flatten() for value in gradient.values()]).cpu().numpy())
            losses.append(mean_loss(trainer.model, trainer.update.criterion, local))
        counts = [len(data.train) for data in self.clients]
        loss = finite(float(np.average(losses, weights=counts)))
        return {"loss": loss, **dissimilarity(np.stack(rows), counts)}
