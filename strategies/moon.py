"""MOON: FedAvg's average over clients that train with a contrastive term.

Li, He, Song, "Model-Contrastive Federated Learning", CVPR 2021, arXiv 2103.16257. The server averages as FedAvg;
the client minimises ``F_k + mu l_con``, see the client update of the same name. ``mu = 0`` is FedAvg.
"""

from __future__ import annotations

from strategies.fedavg import FedAvg
from strategies.server_optimizers import ServerOptimizer
from strategies.weighting import Weighting


class Moon(FedAvg):
    """FedAvg on the server; the contrastive term lives in the clients' update.

    Parameters
    ----------
    mu : float (default: 1.0)
        Weight of the contrastive term, >= 0. 0 is FedAvg.
    temperature : float (default: 0.5)
        T, > 0.
    projection : int, optional
        Outputs of the clients' projection head, >= 1 (default: no head).
    weighting : Weighting, optional
        How much each client counts (default: by sample counts).
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update.
    """

    def __init__(
        self,
        mu: float = 1.0,
        temperature: float = 0.5,
        projection: int | None = None,
        weighting: Weighting | None = None,
        server_optimizer: ServerOptimizer | None = None,
    ) -> None:
        super().__init__(weighting, server_optimizer)
        if mu < 0.0 or temperature <= 0.0:
            raise ValueError(f"need mu >= 0 and temperature > 0, got mu={mu}, temperature={temperature}")
        if projection is not None and projection < 1:
            raise ValueError(f"projection must be >= 1, got {projection}")
        self.mu = mu
        self.temperature = temperature
        self.projection = projection
