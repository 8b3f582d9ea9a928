"""IID: every client a random sample of the pool.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas. Communication-Efficient Learning of Deep Networks from
Decentralized Data. AISTATS 2017.
"""

from __future__ import annotations

import numpy as np

from fedbal.data.apportion import largest_remainder
from fedbal.data.dataset import FloatArray
from fedbal.data.partitions.base import Assignment, Pool, equal, numbered


def iid(pool: Pool, proportions: FloatArray | None = None, *, clients: int) -> Assignment:
    """Divide the shuffled rows; with more clients than rows, some clients stay empty.

    Parameters
    ----------
    pool : Pool
        The rows.
    proportions : numpy.ndarray, optional
        ``(clients,)`` parts of all rows; met exactly up to rounding. Left out: equal.
    clients : int
        Number of clients, >= 1.
    """
    sizes = largest_remainder(equal(clients, proportions), len(pool.rows))
    owner = pool.rng("rows").permutation(np.repeat(np.arange(clients), sizes))
    return Assignment(owner, numbered(clients))
