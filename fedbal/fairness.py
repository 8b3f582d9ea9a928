"""How differently a model serves the clients, with the luck of small test sets taken off.

An undefined number is None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from fedbal.metrics import balanced_accuracy, finite, macro_f1, mean_of_known


class ClientScore(NamedTuple):
    """One client's result on samples that it only ever reports on."""

    n: int
    """Test samples."""
    correct: int
    """Of these, predicted right."""
    loss: float
    """Mean loss over them, in nats."""
    confusion: NDArray[np.int64] | None = None
    """Counts (C, C) by true (row) and predicted class (column); None when the client did not send them."""

    @property
    def value(self) -> float | None:
        """Accuracy, None without samples."""
        return self.correct / self.n if self.n else None


class Between(TypedDict):
    """How a score, a fraction in [0, 1], differs between clients; all None without any."""

    mean: float | None
    weighted_mean: float | None
    std: float | None
    worst_10_percent: float | None
    best_10_percent: float | None
    range: float | None


class ClientSpread(TypedDict):
    """The client view: how accuracy, a fraction in [0, 1], differs between clients."""

    clients: int
    samples: int
    mean: float | None
    weighted_mean: float | None
    mean_balanced_accuracy: float | None
    std: float | None
    worst_10_percent: float | None
    best_10_percent: float | None
    tenth: int
    range: float | None
    pooled_clients: int
    pooled_n: int
    pooled_accuracy: float | None
    pooled_balanced_accuracy: float | None
    pooled_macro_f1: float | None
    pooled_loss: float | None
    note: str | None


def client_spread(rows: Iterable[ClientScore], min_samples: int = 30) -> ClientSpread:
    """Turn per-client results into the client view.

    Clients with fewer than ``min_samples`` test samples say more about chance than about the model and are
    left out of everything but the pooled numbers.

    Parameters
    ----------
    rows : iterable of ClientScore
        One row a client.
    min_samples : int
        Test samples from which on a client counts, >= 1 (default: 30).

    Returns
    -------
    ClientSpread
        ``clients``: how many count, with ``samples`` test samples between them. ``mean``: each client equal;
        ``weighted_mean``: by test samples. ``mean_balanced_accuracy``: mean over clients of the mean recall of
        the classes that the client has, None unless every client sent its confusion counts.
        ``std``: square root of the variance between clients less the mean binomial variance
        a (1 - a) / (n - 1) of their accuracies, floored at 0; None for a single client.
        ``worst_10_percent``, ``best_10_percent``: mean of the lowest and highest tenth of the clients, at
        least one; ``tenth``: how many these are. ``range``: highest minus lowest. ``pooled_*``: over the
        ``pooled_n`` samples of all ``pooled_clients`` clients, small ones included, from summed confusion counts.
        ``note``: why the spread is missing, else None.
    """
    everyone = [row for row in rows if row.n > 0]
    counted = [row for row in everyone if row.n >= min_samples]
    pooled_n = sum(row.n for row in everyone)
    confusion = _summed(everyone)
    spread = ClientSpread(
        clients=len(counted),
        samples=sum(row.n for row in counted),
        mean=None,
        weighted_mean=None,
        mean_balanced_accuracy=None,
        std=None,
        worst_10_percent=None,
        best_10_percent=None,
        tenth=math.ceil(len(counted) / 10),
        range=None,
        pooled_clients=len(everyone),
        pooled_n=pooled_n,
        pooled_accuracy=sum(row.correct for row in everyone) / pooled_n if pooled_n else None,
        pooled_balanced_accuracy=None if confusion is None else balanced_accuracy(confusion),
        pooled_macro_f1=None if confusion is None else macro_f1(confusion),
        pooled_loss=finite(sum(row.n * row.loss for row in everyone) / pooled_n) if pooled_n else None,
        note=None,
    )
    if not counted:
        spread["note"] = too_small((row.n for row in everyone), min_samples)
        return spread
    n = np.array([row.n for row in counted], dtype=np.float64)
    accuracy = np.array([row.correct for row in counted], dtype=np.float64) / n
    spread.update(between(accuracy, n, accuracy * (1 - accuracy) / np.maximum(n - 1, 1)))  # type: ignore[typeddict-item]
    if all(row.confusion is not None for row in counted):
        spread["mean_balanced_accuracy"] = mean_of_known(
            balanced_accuracy(row.confusion) for row in counted if row.confusion is not None
        )
    return spread


def between(values: NDArray[np.float64], n: NDArray[np.float64], chance: NDArray[np.float64]) -> Between:
    """Return how a score differs between clients.

    Parameters
    ----------
    values : ndarray, (clients,)
        Score of each client, in [0, 1].
    n : ndarray, (clients,)
        Its test samples, > 0.
    chance : ndarray, (clients,)
        Sampling variance of its score; the mean of these is taken off the variance between clients.
    """
    if not len(values):
        return Between(
            mean=None,
            weighted_mean=None,
            std=None,
            worst_10_percent=None,
            best_10_percent=None,
            range=None,
        )
    ordered, tenth = np.sort(values), math.ceil(len(values) / 10)
    several = len(values) > 1
    return Between(
        mean=float(values.mean()),
        weighted_mean=float(values @ n / n.sum()),
        std=math.sqrt(max(0.0, float(values.var(ddof=1) - chance.mean()))) if several else None,
        worst_10_percent=float(ordered[:tenth].mean()),
        best_10_percent=float(ordered[-tenth:].mean()),
        range=float(ordered[-1] - ordered[0]),
    )


def too_small(sizes: Iterable[int], min_samples: int) -> str:
    """Say why there is no spread between clients with so many test samples."""
    return (
        f"no client has {min_samples} test samples (the largest has {max(sizes, default=0)}), so there is no "
        f"spread between clients; the pooled numbers are over all of them."
    )


def _summed(rows: Sequence[ClientScore]) -> NDArray[np.int64] | None:
    """Return the confusion counts of all clients together, None when one is missing."""
    matrices = [row.confusion for row in rows if row.confusion is not None]
    if not matrices or len(matrices) < len(rows):
        return None
    total: NDArray[np.int64] = np.sum(matrices, axis=0)
    return total
