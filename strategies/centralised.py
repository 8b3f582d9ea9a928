"""centralised: the data of all clients in one place, the reference row that federated rules try to reach.

One client holds the pooled training data of all clients and trains with the local work of a whole cohort, so that a
round passes over as many samples as a federated one: with E epochs and a cohort of the share f of all clients,
``round(f E ceil(n / b))`` minibatch steps on the n pooled samples. Batches are drawn anew in every round and local
momentum starts anew, as in every client. Test set, initial model and the clients that are evaluated are those
of the federated run. Stragglers, dropouts and availability do not exist.

Pooling is what federated learning avoids: this row exists in simulation only.
"""

from __future__ import annotations

from strategies.fedavg import FedAvg


class Centralised(FedAvg):
    """The average of one model, the pooled client's."""

    def __init__(self) -> None:
        super().__init__()
