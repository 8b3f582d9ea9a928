"""Dirichlet per class: the rows of every class are divided by shares p ~ Dir(alpha).

Yurochkin et al., Bayesian Nonparametric Federated Learning of Neural Networks, ICML 2019; the size guard and
the smallest size as in Li, Diao, Chen, He, Federated Learning on Non-IID Data Silos (NIID-Bench), ICDE 2022,
which FedDisco's NIID-1 follows. With a quantity profile q the shares are Dir(alpha * clients * q): the same
concentration with mean q, so that a client's size is q_k n in expectation.
"""

from __future__ import annotations

import numpy as np

from fedbal.data.apportion import cut, deal
from fedbal.data.dataset import FloatArray, IntArray
from fedbal.data.partitions.base import Assignment, Pool, equal, numbered
from fedbal.errors import UsageError

TRIES = 100


def dirichlet(
    pool: Pool,
    proportions: FloatArray | None = None,
    *,
    clients: int,
    alpha: float,
    min_size: int,
    size_guard: bool,
) -> Assignment:
    """Divide every class by Dirichlet shares.

    Parameters
    ----------
    pool : Pool
        The rows.
    proportions : numpy.ndarray, optional
        ``(clients,)`` expected parts of all rows; left out: equal.
    clients : int
        Number of clients, >= 1.
    alpha : float
        Concentration, > 0; small is more skewed.
    min_size : int
        Fewest rows a client may get; the shares are redrawn until it is met, at most 100 times.
    size_guard : bool
        A client that already holds its part of all rows gets none of the following classes.

    Raises
    ------
    UsageError
        ``min_size`` is impossible or was not reached.
    """
    counts = pool.class_counts
    total = int(counts.sum())
    if min_size * clients > total:
        raise UsageError(
            f"partition dirichlet: min_size {min_size} for {clients} clients needs {min_size * clients} rows "
            f"and there are {total}; at most {total // clients} is possible."
        )
    target = equal(clients, proportions)
    best = -1
    for attempt in range(TRIES):
        table = _draw(counts, target, alpha, size_guard, pool.rng("shares", attempt))
        smallest = int(table.sum(axis=1).min())
        if smallest >= min_size:
            return Assignment(deal(table, pool.labels, pool.rng("rows")), numbered(clients))
        best = max(best, smallest)
    raise UsageError(
        f"partition dirichlet: no draw of {TRIES} gave each of {clients} clients min_size {min_size} rows at "
        f"alpha {alpha:g}; the best gave {best}. Lower min_size to {best} or less, raise alpha, take fewer "
        f"clients{'' if size_guard else ', or set size_guard: true'}."
    )


def _draw(
    counts: IntArray, target: FloatArray, alpha: float, size_guard: bool, rng: np.random.Generator
) -> IntArray:
    """Return one table of rows, ``(clients, classes)``."""
    clients = len(target)
    # A part that underflows to 0 is no valid concentration.
    concentration = np.maximum(alpha * clients * target, 1e-12)
    limit = target * counts.sum()
    table = np.zeros((clients, len(counts)), dtype=np.int64)
    held = np.zeros(clients, dtype=np.int64)
    for label in np.flatnonzero(counts):
        shares = np.nan_to_num(rng.dirichlet(concentration))
        if size_guard:
            shares = shares * (held < limit)
        if shares.sum() <= 0.0:
            # Tiny concentrations can put all mass on guarded clients: one of the others takes the class.
            shares = np.zeros(clients)
            shares[rng.choice(np.flatnonzero(held < limit) if size_guard else clients)] = 1.0
        table[:, label] = cut(shares, int(counts[label]))
        held += table[:, label]
    return table
