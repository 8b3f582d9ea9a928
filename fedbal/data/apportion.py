"""Whole numbers that follow given shares and add up exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedbal.data.dataset import FloatArray, IntArray


def largest_remainder(shares: npt.ArrayLike, total: int) -> IntArray:
    """Divide ``total`` into whole numbers proportional to ``shares``; ties go to the first.

    Parameters
    ----------
    shares : array_like
        ``(k,)``, non-negative, not all 0; they need not sum to 1.
    total : int
        What the numbers add up to, >= 0.
    """
    weights: FloatArray = np.asarray(shares, dtype=np.float64)
    quota = weights / weights.sum() * total
    result: IntArray = np.floor(quota).astype(np.int64)
    short = total - int(result.sum())
    order = np.argsort(-(quota - result), kind="stable")
    result[order[:short]] += 1
    return result


def cut(shares: FloatArray, total: int) -> IntArray:
    """Divide ``total`` by cutting at the running sum of the shares, rounded down, as NIID-Bench does.

    A share of 0 gets 0. Cheaper than the largest remainder and without its bias for many tiny shares:
    where every share is below one, which of them get one is left to the running sum.
    """
    running = np.cumsum(shares)
    ends = np.floor(running / running[-1] * total).astype(np.int64)
    result: IntArray = np.diff(ends, prepend=0)
    return result


def deal(counts: IntArray, labels: IntArray, rng: np.random.Generator) -> IntArray:
    """Deal the rows of each class at random, as many to each client as a table says.

    Parameters
    ----------
    counts : numpy.ndarray
        ``(clients, classes)``; each column sums to the number of rows of that class.
    labels : numpy.ndarray
        ``(n,)``, the class of each row.
    rng : numpy.random.Generator
        Decides which rows, not how many.

    Returns
    -------
    numpy.ndarray
        ``(n,)``, the client of each row.
    """
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    clients = np.broadcast_to(np.arange(len(counts))[:, None], counts.shape)
    owner = np.empty(len(labels), dtype=np.int64)
    owner[by_class] = np.repeat(clients.T.ravel(), counts.T.ravel())
    return owner
