"""Shards: rows sorted by label, cut into equal shards, some dealt at random to each client.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas. Communication-Efficient Learning of Deep Networks from
Decentralized Data. AISTATS 2017.
"""

from __future__ import annotations

import numpy as np

from fedbal.data.partitions.base import Assignment, Pool, numbered
from fedbal.errors import UsageError


def shards(pool: Pool, *, clients: int, shards_per_client: int) -> Assignment:
    """Cut and deal.

    Parameters
    ----------
    pool : Pool
        The rows.
    clients : int
        Number of clients, >= 1.
    shards_per_client : int
        Shards each client gets, >= 1; their sizes differ by at most one row.

    Raises
    ------
    UsageError
        There are more shards than rows.
    """
    total, rows = clients * shards_per_client, len(pool.rows)
    if total > rows:
        raise UsageError(
            f"partition shards: {clients} clients x {shards_per_client} shards are {total} shards, more than "
            f"the {rows} rows; with {shards_per_client} shards per client there can be at most "
            f"{rows // shards_per_client} clients."
        )
    rng = pool.rng("rows")
    shuffled = rng.permutation(rows)
    by_label = shuffled[np.argsort(pool.labels[shuffled], kind="stable")]
    dealt = rng.permutation(np.repeat(np.arange(clients), shards_per_client))
    owner = np.empty(rows, dtype=np.int64)
    owner[by_label] = dealt[np.arange(rows) * total // rows]
    return Assignment(owner, numbered(clients))
