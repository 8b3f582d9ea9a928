"""SCAFFOLD: control variates that take client drift out of local steps.

Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
ICML 2020, arXiv 1910.06378, Algorithm 1 with option II. Locally ``y <- y - lr (g + c - c_k)``; after tau steps
``c_k' = c_k - c + (w - y) / (tau lr)``. On the server, over the S clients of the round out of N,

    w <- w + lr_g mean_k (y_k - w),    c <- c + (S / N) mean_k (c_k' - c_k),

all controls starting at 0. The paper averages plainly; a sample-weighted mean is a common variant and is chosen by
``weighting: samples``. Messages carry the control beside the model in both directions: twice the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord
from numpy.typing import NDArray

from fedbal.protocol import CONTROL, CONTROL_DELTA, Arrays, Disclosure, to_record
from strategies.base import AggregationRule
from strategies.server_optimizers import Momentum
from strategies.validation import ClientReply, InvalidReplyError
from strategies.weighting import Uniform, Weighting, Weights


class Scaffold(AggregationRule):
    """Averages models and control variates.

    Parameters
    ----------
    lr : float (default: 1.0)
        Server learning rate ``lr_g``, > 0.
    weighting : Weighting, optional
        How much each client counts (default: all the same, as in the paper).
    """

    discloses = (
        Disclosure(
            name=CONTROL_DELTA,
            size="as large as the model",
            frequency="every round the client takes part in",
            privacy="the change of the client's mean gradient; no more revealing than its model update",
        ),
    )

    def __init__(self, lr: float = 1.0, weighting: Weighting | None = None) -> None:
        super().__init__(weighting or Uniform(), None if lr == 1.0 else Momentum(0.0, lr))
        self.weighting = weighting
        self.lr = lr
        self._control: Arrays = {}

    def sends(self) -> dict[str, ArrayRecord]:
        """Send the server's control; before the first aggregation there is none, which means 0."""
        return {CONTROL: to_record(self._control)} if self._control else {}

    def check(self, reply: ClientReply) -> None:
        """Require the change of the client's control, for every floating array of the model."""
        super().check(reply)
        floating = {name for name, value in self.current.items() if np.issubdtype(value.dtype, np.inexact)}
        if set(reply.records.get(CONTROL_DELTA, {})) != floating:
            raise InvalidReplyError(
                f"SCAFFOLD needs the array record {CONTROL_DELTA!r} with all floating arrays"
            )

    def combine(self, replies: Sequence[ClientReply], weights: Weights) -> Arrays:
        """Average the models, and move the control by the mean change times S / N."""
        mean = self.mean(replies, weights, CONTROL_DELTA)
        known = self.context.num_clients if self.context else 0
        share = len(replies) / known if known else 1.0
        for name, change in mean.items():
            before = self._control.get(name, np.zeros_like(change))
            self._control[name] = (before.astype(np.float64) + share * change.astype(np.float64)).astype(
                change.dtype
            )
        return super().combine(replies, weights)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the control and the server optimizer's state."""
        return {**{f"control/{name}": value for name, value in self._control.items()}, **super().state_dict()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        prefix = "control/"
        self._control = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        super().load_state_dict({key: value for key, value in state.items() if not key.startswith(prefix)})
