"""FedAvg: the average of the client models, weighted by sample counts.

McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017, arXiv 1602.05629, Algorithm 1:

    w^{t+1} = sum_k p_k w_k,    p_k = n_k / sum_j n_j,

over the clients j that replied in round t; ``w_k`` is client k's model, ``n_k`` its number of samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from strategies.base import AggregationRule, Weights
from strategies.validation import ClientReply


def sample_weights(num_examples: ArrayLike) -> Weights:
    """Return ``p_k = n_k / sum_j n_j``.

    Parameters
    ----------
    num_examples : array_like, shape (n,)
        Samples of each client, positive.

    Returns
    -------
    ndarray, shape (n,)
        Weights, float64, summing to 1.
    """
    counts = np.asarray(num_examples, np.float64)
    if counts.ndim != 1 or not counts.size or not np.isfinite(counts).all() or (counts <= 0).any():
        raise ValueError(f"num_examples must be a non-empty vector of positive numbers, got {num_examples!r}")
    weights: Weights = counts / counts.sum()
    return weights


def fedavg(models: ArrayLike, num_examples: ArrayLike) -> NDArray[np.float64]:
    """Return the FedAvg model of stacked client models.

    Parameters
    ----------
    models : array_like, shape (n, p)
        One flat model a client.
    num_examples : array_like, shape (n,)
        Samples of each client.

    Returns
    -------
    ndarray, shape (p,)
        The weighted mean, float64.
    """
    weights = sample_weights(num_examples)
    mean: NDArray[np.float64] = np.einsum("k,kp->p", weights, np.asarray(models, np.float64))
    return mean


class FedAvg(AggregationRule):
    """Federated averaging, the rule that others are measured against. It has no parameters."""

    def weights(self, replies: Sequence[ClientReply]) -> Weights:
        """Weigh by sample counts."""
        return sample_weights([reply.num_examples for reply in replies])
