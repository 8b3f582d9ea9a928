"""FedAdam, FedYogi, FedAdagrad: adaptive optimization on the server.

Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive Federated Optimization", ICLR 2021,
arXiv 2003.00295, Algorithm 2: with the average update ``D = sum_k p_k (w_k - w)``,

    m <- b1 m + (1 - b1) D,    w <- w + lr m / (sqrt(v) + tau),

    Adam     v <- b2 v + (1 - b2) D^2
    Yogi     v <- v - (1 - b2) D^2 sign(v - D^2)
    Adagrad  v <- v + D^2

The paper starts v at ``tau^2`` or above, which is the default here; Flower's strategies start at 0
(``initial: zero``), and Flower's FedAdam alone multiplies a bias correction (``bias_correction: true``).
Large ``tau`` with ``lr = tau`` and ``b1 = 0`` tends to FedAvg where v starts at 0; from ``tau^2`` the first step is
half of FedAvg's.
"""

from __future__ import annotations

from typing import Literal

from strategies.base import AggregationRule
from strategies.server_optimizers import Adaptive
from strategies.weighting import Weighting

Initial = Literal["tau_squared", "zero"]


class FedAdam(AggregationRule):
    """A preset: weighted average, Adam on the server.

    Parameters
    ----------
    lr : float (default: 0.1)
        Server learning rate, > 0.
    beta1, beta2 : float (default: 0.9, 0.99)
        Decay of the moments, in [0, 1).
    tau : float (default: 1e-3)
        Degree of adaptivity, > 0.
    initial : {"tau_squared", "zero"}
        What v starts from.
    bias_correction : bool (default: False)
        As Flower's FedAdam.
    weighting : Weighting, optional
        How much each client counts (default: by sample counts).
    """

    def __init__(
        self,
        lr: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.99,
        tau: float = 1e-3,
        initial: Initial = "tau_squared",
        bias_correction: bool = False,
        weighting: Weighting | None = None,
    ) -> None:
        super().__init__(weighting, Adaptive("adam", lr, beta1, beta2, tau, initial, bias_correction))
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.tau = tau
        self.initial = initial
        self.bias_correction = bias_correction


class FedYogi(AggregationRule):
    """A preset: weighted average, Yogi on the server.

    Parameters
    ----------
    lr, beta1, beta2, tau, initial, weighting
        As in :class:`FedAdam`.
    """

    def __init__(
        self,
        lr: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.99,
        tau: float = 1e-3,
        initial: Initial = "tau_squared",
        weighting: Weighting | None = None,
    ) -> None:
        super().__init__(weighting, Adaptive("yogi", lr, beta1, beta2, tau, initial))
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.tau = tau
        self.initial = initial


class FedAdagrad(AggregationRule):
    """A preset: weighted average, Adagrad on the server.

    Parameters
    ----------
    lr, beta1, tau, initial, weighting
        As in :class:`FedAdam`; Adagrad has no ``beta2``.
    """

    def __init__(
        self,
        lr: float = 0.1,
        beta1: float = 0.9,
        tau: float = 1e-3,
        initial: Initial = "tau_squared",
        weighting: Weighting | None = None,
    ) -> None:
        super().__init__(weighting, Adaptive("adagrad", lr, beta1, 0.0, tau, initial))
        self.lr = lr
        self.beta1 = beta1
        self.tau = tau
        self.initial = initial
