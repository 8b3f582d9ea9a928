"""FedAvgM: FedAvg with momentum on the server.

Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification",
arXiv 1909.06335: with the average update ``D = sum_k p_k (w_k - w)``,

    v <- beta v + D,    w <- w + lr v,    v = 0 at the start.

``damped`` is the form of FedDisco's official code, ``v <- beta v + (1 - beta) D``. ``beta = 0`` and ``lr = 1`` is
FedAvg in both.
"""

from __future__ import annotations

from strategies.base import AggregationRule
from strategies.server_optimizers import Momentum
from strategies.weighting import Weighting


class FedAvgM(AggregationRule):
    """A preset: weighted average, momentum on the server.

    Parameters
    ----------
    beta : float (default: 0.9)
        Momentum, in [0, 1); the usual grid is 0.7, 0.9, 0.97, 0.99. 0 with ``lr`` 1 is FedAvg.
    lr : float (default: 1.0)
        Server learning rate, > 0.
    damped : bool (default: False)
        Scale the new update by ``1 - beta``.
    weighting : Weighting, optional
        How much each client counts (default: by sample counts).
    """

    def __init__(
        self, beta: float = 0.9, lr: float = 1.0, damped: bool = False, weighting: Weighting | None = None
    ) -> None:
        super().__init__(weighting, Momentum(beta, lr, damped))
        self.beta = beta
        self.lr = lr
        self.damped = damped
