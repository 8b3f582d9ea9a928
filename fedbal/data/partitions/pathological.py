"""Pathological: each client holds exactly k classes.

Li, Diao, Chen, He. Federated Learning on Non-IID Data Silos. ICDE 2022 (quantity-based label imbalance).
Each client's first classes are dealt in turn, so that no class is left out; the others are drawn. The rows of
a class are divided over its holders.
"""

from __future__ import annotations

import numpy as np

from fedbal.data.apportion import cut, deal
from fedbal.data.dataset import FloatArray
from fedbal.data.partitions.base import Assignment, Pool, equal, numbered
from fedbal.errors import UsageError


def pathological(
    pool: Pool, proportions: FloatArray | None = None, *, clients: int, classes_per_client: int
) -> Assignment:
    """Give every client its classes, then divide the rows of each class over its holders.

    Parameters
    ----------
    pool : Pool
        The rows.
    proportions : numpy.ndarray, optional
        ``(clients,)`` weights with which the holders of a class share its rows; left out: equal parts.
    clients : int
        Number of clients, >= 1.
    classes_per_client : int
        Classes of each client, 1 to the number of classes. A client goes without one of its classes only
        where that class has fewer rows than holders.

    Raises
    ------
    UsageError
        More classes asked for than there are, or too few clients to hold all of them.
    """
    count = pool.dataset.num_classes
    if classes_per_client > count:
        raise UsageError(
            f"partition pathological: classes_per_client {classes_per_client} is more than the {count} "
            f"classes of {pool.dataset.name}; choose 1 to {count}."
        )
    if clients * classes_per_client < count:
        raise UsageError(
            f"partition pathological: {clients} clients with {classes_per_client} classes each cannot hold "
            f"all {count} classes; take at least {-(-count // classes_per_client)} clients, or at least "
            f"{-(-count // clients)} classes per client."
        )
    keys = pool.rng("classes").random((clients, count))
    turns = np.arange(max(clients, count))
    keys[turns % clients, turns % count] = -1.0
    chosen = np.argpartition(keys, classes_per_client - 1, axis=1)[:, :classes_per_client]
    weights = np.zeros((clients, count))
    np.put_along_axis(weights, chosen, equal(clients, proportions)[:, None], axis=1)
    columns = [cut(weights[:, label], int(rows)) for label, rows in enumerate(pool.class_counts)]
    return Assignment(deal(np.stack(columns, axis=1), pool.labels, pool.rng("rows")), numbered(clients))
