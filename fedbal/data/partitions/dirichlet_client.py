"""Dirichlet per client: each client draws label proportions q_k ~ Dir(alpha C pi) and fills up from them.

Hsu, Qi, Brown. Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification.
arXiv 1909.06335, 2019. pi is the pool's own class distribution and C the number of classes, so that alpha is
per class, comparable with the per-class partition; the paper's concentration is alpha C. Rows are drawn
without replacement: a class that runs out leaves the proportions of the clients that follow.
"""

from __future__ import annotations

import numpy as np

from fedbal.data.apportion import deal, largest_remainder
from fedbal.data.dataset import FloatArray, IntArray
from fedbal.data.partitions.base import Assignment, Pool, equal, numbered


def dirichlet_client(
    pool: Pool, proportions: FloatArray | None = None, *, clients: int, alpha: float
) -> Assignment:
    """Fill clients of given sizes, each from its own label proportions.

    Parameters
    ----------
    pool : Pool
        The rows.
    proportions : numpy.ndarray, optional
        ``(clients,)`` parts of all rows; met exactly up to rounding. Left out: equal.
    clients : int
        Number of clients, >= 1.
    alpha : float
        Concentration per class, > 0; small is more skewed.
    """
    left = pool.class_counts
    sizes = largest_remainder(equal(clients, proportions), len(pool.rows))
    concentration = np.maximum(alpha * len(left) * left / max(int(left.sum()), 1), 1e-12)
    rng = pool.rng("shares")
    wishes = np.nan_to_num(rng.dirichlet(concentration, size=clients))
    table = np.zeros((clients, len(left)), dtype=np.int64)
    # In random order, or the clients with the highest numbers would always get the leftovers.
    for client in rng.permutation(np.flatnonzero(sizes)):
        table[client] = _fill(int(sizes[client]), wishes[client], left, rng)
        left = left - table[client]
    return Assignment(deal(table, pool.labels, pool.rng("rows")), numbered(clients))


def _fill(size: int, wish: FloatArray, left: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw ``size`` rows by the wished proportions, without taking more of a class than is left."""
    taken = np.zeros(len(left), dtype=np.int64)
    missing = size
    while missing:
        free = left - taken
        shares = wish * (free > 0)
        if shares.sum() <= 0.0:
            shares = free.astype(np.float64)
        drawn = np.minimum(rng.multinomial(missing, shares / shares.sum()), free)
        taken += drawn
        missing -= int(drawn.sum())
    return taken
