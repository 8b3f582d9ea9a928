"""q-FedAvg: clients with a larger loss count more, in steps that shrink with what the updates disagree.

Li, Sanjabi, Beirami, Smith, "Fair Resource Allocation in Federated Learning", ICLR 2020, arXiv 1905.10497,
Algorithm 2, for ``min_w sum_k p_k F_k(w)^{q+1} / (q + 1)``: with F_k the loss of the received model on all training
data of client k, ``g_k = L (w - w_k)`` and L = 1 / lr,

    w <- w - sum_k F_k^q g_k / sum_k h_k,    h_k = q F_k^{q-1} ||g_k||^2 + L F_k^q.

That is a mean of the client models with weights proportional to ``F_k^q``, of which only the share
``s = L sum_k F_k^q / sum_k h_k``, in (0, 1], is taken; this file says it so. The official code adds 1e-10 to F_k in
powers, and so does this.

The algorithm draws clients by size and weighs them equally, hence ``q = 0`` is the uniform mean. Where cohorts are
drawn uniformly, ``weighting: samples`` puts the p_k into both sums, and ``q = 0`` is FedAvg.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedbal.protocol import RECEIVED_LOSS, Arrays, Disclosure
from strategies.base import AggregationRule
from strategies.validation import ClientReply, InvalidReplyError
from strategies.weighting import Uniform, Weighting, Weights

TINY = 1e-10
"""Added to losses: a loss of 0 has no power below 0."""

RECEIVED_LOSS_DISCLOSURE = Disclosure(
    name=RECEIVED_LOSS,
    size="8 bytes",
    frequency="every round the client takes part in",
    privacy="how well the global model fits the client's training data: a mild sign of membership",
)


def fair_weights(losses: ArrayLike, q: float, prior: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return weights proportional to ``p_k F_k^q``.

    Parameters
    ----------
    losses : array_like, shape (n,)
        ``F_k`` >= 0.
    q : float
        Fairness, >= 0; 0 gives the prior.
    prior : array_like, shape (n,), optional
        ``p_k``, summing to 1 (default: all the same).

    Returns
    -------
    ndarray, shape (n,)
        Float64, summing to 1.
    """
    values = np.asarray(losses, np.float64)
    shares = np.full(values.size, 1.0 / values.size) if prior is None else np.asarray(prior, np.float64)
    if q == 0.0:
        return shares
    # Relative to the largest loss: large powers neither overflow nor vanish together.
    raw = shares * ((values + TINY) / (values.max() + TINY)) ** q
    weights: NDArray[np.float64] = raw / raw.sum()
    return weights


def step_share(weights: ArrayLike, losses: ArrayLike, squared_norms: ArrayLike, q: float, lr: float) -> float:
    """Return how much of the way to the weighted mean is gone, ``s`` in (0, 1].

    Parameters
    ----------
    weights : array_like, shape (n,)
        From :func:`fair_weights`.
    losses : array_like, shape (n,)
        ``F_k``.
    squared_norms : array_like, shape (n,)
        ``||w_k - w||^2``.
    q : float
        Fairness, >= 0; 0 gives 1.
    lr : float
        Local learning rate, > 0.
    """
    shares, norms = np.asarray(weights, np.float64), np.asarray(squared_norms, np.float64)
    resistance = q * norms / (lr * (np.asarray(losses, np.float64) + TINY))
    return 1.0 / (1.0 + float(shares @ resistance))


def qfedavg(
    model: ArrayLike, models: ArrayLike, losses: ArrayLike, q: float, lr: float
) -> NDArray[np.float64]:
    """Return the next model of stacked client models.

    Parameters
    ----------
    model : array_like, shape (p,)
        The model that the clients received.
    models : array_like, shape (n, p)
        One flat model a client.
    losses : array_like, shape (n,)
        Loss of the received model on each client's training data.
    q : float
        Fairness, >= 0.
    lr : float
        Local learning rate, > 0.

    Returns
    -------
    ndarray, shape (p,)
        Float64.
    """
    start = np.asarray(model, np.float64)
    updates = np.asarray(models, np.float64) - start
    weights = fair_weights(losses, q)
    share = step_share(weights, losses, np.square(updates).sum(axis=1), q, lr)
    moved: NDArray[np.float64] = start + share * (weights @ updates)
    return moved


class QFedAvg(AggregationRule):
    """Fair averaging.

    Parameters
    ----------
    q : float (default: 0.1)
        Fairness, >= 0; the paper's grid is 0, 0.001, 0.01, 0.1, 1, 2, 5. 0 is the mean by ``weighting``.
    lr : float, optional
        1 / L, > 0 (default: the local learning rate of the scenario, before any schedule).
    weighting : Weighting, optional
        The ``p_k`` (default: every client the same).
    """

    requests = (RECEIVED_LOSS,)
    discloses = (RECEIVED_LOSS_DISCLOSURE,)

    def __init__(self, q: float = 0.1, lr: float | None = None, weighting: Weighting | None = None) -> None:
        super().__init__(weighting)
        if q < 0.0:
            raise ValueError(f"q must be >= 0, got {q}")
        if lr is not None and lr <= 0.0:
            raise ValueError(f"lr must be > 0, got {lr}")
        self.q = q
        self.lr = lr
        self.weigher = weighting or Uniform()
        self._share = 1.0

    def check(self, reply: ClientReply) -> None:
        """Require one finite loss that is not negative."""
        super().check(reply)
        received_loss(reply)

    def weights(self, replies: Sequence[ClientReply]) -> Weights:
        """Weigh by the losses, and find how far to go."""
        losses = [received_loss(reply) for reply in replies]
        weights = fair_weights(losses, self.q, super().weights(replies))
        norms = [_squared_norm(reply.arrays, self.current) for reply in replies]
        self._share = step_share(weights, losses, norms, self.q, self._rate()) if self.q else 1.0
        for reply, loss in zip(replies, losses, strict=True):
            self.report.note_client(reply.node, received_loss=loss, step_share=self._share)
        return weights

    def server_step(self, current: Arrays, combined: Arrays) -> Arrays:
        """Go the share of the way; integer buffers are the combined ones."""
        if self._share == 1.0:
            return combined
        return {name: _between(current[name], value, self._share) for name, value in combined.items()}

    def _rate(self) -> float:
        rate = self.lr or (self.context.learning_rate if self.context else None)
        if rate is None:
            raise ValueError("q-FedAvg needs the local learning rate; give lr")
        return rate


def received_loss(reply: ClientReply) -> float:
    """Return the loss that a client found for the received model; raises ``InvalidReplyError``."""
    values = reply.extras[RECEIVED_LOSS]
    value = values[0] if isinstance(values, list) and len(values) == 1 else None
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0.0:
        raise InvalidReplyError(f"{RECEIVED_LOSS} must be one number >= 0, got {values!r}")
    return float(value)


def _squared_norm(model: Arrays, current: Arrays) -> float:
    floating = [name for name, value in current.items() if np.issubdtype(value.dtype, np.inexact)]
    parts = [model[name].astype(np.float64) - current[name].astype(np.float64) for name in floating]
    return float(sum(np.square(part).sum() for part in parts))


def _between(start: NDArray[np.generic], end: NDArray[np.generic], share: float) -> NDArray[np.generic]:
    if not np.issubdtype(end.dtype, np.inexact):
        return end
    origin = start.astype(np.float64)
    return (origin + share * (end.astype(np.float64) - origin)).astype(end.dtype)
