"""FedAvg: the average of the client models, weighted by sample counts.

McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017, arXiv 1602.05629, Algorithm 1:

    w^{t+1} = sum_k p_k w_k,    p_k = n_k / sum_j n_j,

over the clients j that replied in round t; ``w_k`` is client k's model, ``n_k`` its number of samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from strategies.base import AggregationRule
from strategies.weighting import sample_weights


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
    """Federated averaging, the rule that others are measured against.

    Parameters
    ----------
    weighting : Weighting, optional
        How much each client counts (default: by sample counts, which is FedAvg).
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update (default: it becomes the average, which is FedAvg).
    """
