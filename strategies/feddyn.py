"""FedDyn: the plain mean of the client models, corrected by the accumulated drift.

Acar, Zhao, Matas, Mattina, Whatmough, Saligrama, "Federated Learning Based on Dynamic Regularization", ICLR 2021,
arXiv 2111.04263, Algorithm 1: with S the clients of the round out of N,

    h <- h - (alpha / N) sum_{k in S} (y_k - w),    w <- mean_{k in S} y_k - h / alpha,

h starting at 0; ``y_k`` minimises client k's regularised objective (see the client update of the same name). The
fixed point on quadratics is the optimum of the global objective. FedDisco's code divides alpha by the client's
relative size and evaluates the plain mean instead of w; the paper does neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbal.protocol import Arrays
from strategies.base import AggregationRule
from strategies.validation import ClientReply
from strategies.weighting import Uniform, Weights


class FedDyn(AggregationRule):
    """Dynamic regularisation.

    Parameters
    ----------
    alpha : float (default: 0.01)
        Regularisation, > 0; the usual grid is 0.001, 0.01, 0.1.
    """

    needs = "scalars"

    def __init__(self, alpha: float = 0.01) -> None:
        super().__init__(Uniform())
        if alpha <= 0.0:
            raise ValueError(f"alpha must be > 0, got {alpha}")
        self.alpha = alpha
        self._replied = 0
        self._drift: dict[str, NDArray[np.float64]] = {}

    def weights(self, replies: Sequence[ClientReply]) -> Weights:
        """Weigh equally, and remember how many replied."""
        self._replied = len(replies)
        return super().weights(replies)

    def server_step(self, current: Arrays, combined: Arrays) -> Arrays:
        """Take the accumulated drift off the mean model."""
        known = (self.context.num_clients if self.context else 0) or self._replied
        following: Arrays = {}
        for name, mean in combined.items():
            if not np.issubdtype(mean.dtype, np.inexact):
                following[name] = mean
                continue
            moved = self._replied * (mean.astype(np.float64) - current[name].astype(np.float64))
            drift = self._drift.get(name, np.zeros_like(moved)) - self.alpha / known * moved
            self._drift[name] = drift
            following[name] = (mean.astype(np.float64) - drift / self.alpha).astype(mean.dtype)
        return following

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the accumulated drift."""
        return dict(self._drift)

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._drift = {name: np.asarray(value, np.float64) for name, value in state.items()}
