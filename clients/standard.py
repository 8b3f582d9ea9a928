"""Local SGD on the client's own loss, the client side of FedAvg.

McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017, Algorithm 1 (ClientUpdate): ``w <- w - lr * grad l(w; b)`` for every
minibatch b of every local epoch.
"""

from __future__ import annotations

from torch import Tensor

from clients.base import Batch, ClientUpdate, Forward, Frozen, Tensors


class Standard(ClientUpdate):
    """Minimise the criterion on the client's own minibatches."""

    def loss(self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen) -> Tensor:
        """Return the criterion of the minibatch."""
        return self.criterion(forward(params, batch.x), batch)
