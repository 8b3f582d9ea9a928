"""NIID-2: biased clients that hold one group of classes each, beside full clients with all classes.

Ye, Xu, Wang, Xu, Chen, Wang. FedDisco: Federated Learning with Discrepancy-Aware Collaboration. ICML 2023.
The classes form G groups and biased client i takes group i mod G. A biased client gets G parts of each of its
C/G classes, a full client one part of each class, so all have the same size. Rows that do not divide evenly
are dealt as well (the authors' code leaves them out): sizes differ by a few rows.
"""

from __future__ import annotations

import numpy as np

from fedbal.data.apportion import cut, deal
from fedbal.data.partitions.base import Assignment, Pool, numbered
from fedbal.errors import UsageError


def niid2(pool: Pool, *, clients: int, n_niid: int, groups: int) -> Assignment:
    """Divide the rows; clients ``0 .. n_niid - 1`` are the biased ones.

    Parameters
    ----------
    pool : Pool
        The rows.
    clients : int
        All clients, biased and full.
    n_niid : int
        Biased clients, a multiple of ``groups``, at most ``clients``.
    groups : int
        Disjoint class groups; divides the number of classes.

    Raises
    ------
    UsageError
        The classes do not form that many equal groups.
    """
    count = pool.dataset.num_classes
    if count % groups:
        fitting = [size for size in range(1, count + 1) if count % size == 0 and n_niid % size == 0]
        raise UsageError(
            f"partition niid2: the {count} classes of {pool.dataset.name} do not form {groups} equal groups; "
            f"with n_niid {n_niid}, groups can be {', '.join(map(str, fitting))}."
        )
    group = np.arange(count) // (count // groups)
    parts = np.ones((clients, count))
    parts[:n_niid] = groups * (np.arange(n_niid)[:, None] % groups == group)
    columns = [cut(parts[:, label], int(rows)) for label, rows in enumerate(pool.class_counts)]
    return Assignment(deal(np.stack(columns, axis=1), pool.labels, pool.rng("rows")), numbered(clients))
