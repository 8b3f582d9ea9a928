"""FedProx: FedAvg's average over clients that train with a proximal term.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous Networks", MLSys 2020,
arXiv 1812.06127. Client k approximately minimises (equation 2)

    h_k(w; w^t) = F_k(w) + (mu / 2) ||w - w^t||^2,

and the server averages ``w^{t+1} = sum_k n_k w_k / sum_k n_k`` over the clients that count. Algorithm 2 of the
paper samples clients with probability p_k and averages plainly; its experiments and code sample uniformly
and weigh by n_k, which is what happens here.

Stragglers that did part of their epochs count with their full weight n_k. Keeping that partial work is a
choice of its own (``systems.stragglers.policy: partial``), so that its effect and the effect of ``mu`` can be
told apart; ``mu = 0`` without stragglers is FedAvg.
"""

from __future__ import annotations

from strategies.fedavg import FedAvg
from strategies.server_optimizers import ServerOptimizer
from strategies.weighting import Weighting


class FedProx(FedAvg):
    """FedAvg on the server; the proximal term lives in the clients' update.

    Parameters
    ----------
    mu : float (default: 1.0)
        Proximal coefficient, >= 0, of the client update that this rule asks for. The paper searches
        0.001, 0.01, 0.1 and 1; 1 is its best value on Synthetic, MNIST and FEMNIST. 0 is FedAvg.
    weighting : Weighting, optional
        How much each client counts (default: by sample counts).
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update.
    """

    def __init__(
        self,
        mu: float = 1.0,
        weighting: Weighting | None = None,
        server_optimizer: ServerOptimizer | None = None,
    ) -> None:
        super().__init__(weighting, server_optimizer)
        if mu < 0.0:
            raise ValueError(f"mu must be >= 0, got {mu}")
        self.mu = mu
