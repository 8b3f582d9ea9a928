"""FedNova: updates normalised by how much local work made them.

Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in Heterogeneous Federated
Optimization", NeurIPS 2020, arXiv 2007.07481, equation (6): with ``a_k`` the norm of client k's accumulation vector
(its number of steps for plain SGD),

    d_k = (w - w_k) / a_k,    tau_eff = sum_k p_k a_k,    w <- w - tau_eff sum_k p_k d_k.

Equal ``a_k`` for all is FedAvg. The bias from unequal steps is removed to first order in the learning rate.
Flower's baseline passes its scales through a helper that divides them by their sum, which is another update.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedbal.protocol import NORMALISED_STEPS, Arrays, Disclosure
from strategies.base import AggregationRule
from strategies.validation import ClientReply, InvalidReplyError
from strategies.weighting import Weights


def nova_weights(weights: ArrayLike, steps: ArrayLike) -> NDArray[np.float64]:
    """Return what each client update ``w_k - w`` is multiplied by, ``tau_eff p_k / a_k``.

    Parameters
    ----------
    weights : array_like, shape (n,)
        ``p_k``, summing to 1.
    steps : array_like, shape (n,)
        ``a_k``, positive.

    Returns
    -------
    ndarray, shape (n,)
        Float64; they sum to 1 only when all ``a_k`` are equal.
    """
    shares, norms = np.asarray(weights, np.float64), np.asarray(steps, np.float64)
    if shares.shape != norms.shape or (norms <= 0).any():
        raise ValueError(f"need {shares.size} positive step norms, got {steps!r}")
    factors: NDArray[np.float64] = float(shares @ norms) * shares / norms
    return factors


class FedNova(AggregationRule):
    """Normalised averaging.

    Parameters
    ----------
    weighting : Weighting, optional
        The ``p_k`` (default: by sample counts).
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update.
    """

    requests = (NORMALISED_STEPS,)
    discloses = (
        Disclosure(
            name=NORMALISED_STEPS,
            size="8 bytes",
            frequency="every round the client takes part in",
            privacy="reveals how many local steps the client did, hence its speed or its number of samples",
        ),
    )

    def check(self, reply: ClientReply) -> None:
        """Require one positive, finite number."""
        super().check(reply)
        values = reply.extras[NORMALISED_STEPS]
        if not isinstance(values, list) or len(values) != 1 or not _positive(values[0]):
            raise InvalidReplyError(f"{NORMALISED_STEPS} must be one positive number, got {values!r}")

    def combine(self, replies: Sequence[ClientReply], weights: Weights) -> Arrays:
        """Add the normalised updates to the current model."""
        norms = [float(_first(reply)) for reply in replies]
        factors = nova_weights(weights, norms)
        for reply, norm in zip(replies, norms, strict=True):
            self.report.note_client(reply.node, normalised_steps=norm)
        return add_updates(self.current, [reply.arrays for reply in replies], factors)


def add_updates(current: Arrays, models: Sequence[Arrays], factors: NDArray[np.float64]) -> Arrays:
    """Return ``w + sum_k factors[k] (w_k - w)``; integer buffers take the element-wise maximum."""
    moved: Arrays = {}
    for name, before in current.items():
        if not np.issubdtype(before.dtype, np.inexact):
            moved[name] = np.maximum.reduce([model[name] for model in models])
            continue
        start = before.astype(np.float64)
        total = start.copy()
        for model, factor in zip(models, factors, strict=True):
            total += factor * (model[name].astype(np.float64) - start)
        moved[name] = total.astype(before.dtype)
    return moved


def _first(reply: ClientReply) -> float:
    values = reply.extras[NORMALISED_STEPS]
    assert isinstance(values, list)
    return float(values[0])


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
