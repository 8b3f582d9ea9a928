"""How each client's update lies to the round's mean update: its length and the cosine of their angle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedbal.protocol import Arrays
from strategies.mean import Sums, row_groups, rows_at_once, rows_of, weighted_sums

TOGETHER = 4096
"""Longest row, in numbers, of which inner products are taken for many clients in one call."""

Flat = dict[str, NDArray[np.float64]]
"""Flat float64 arrays by name."""


def alignment(
    current: Arrays,
    models: Sequence[Arrays],
    weights: NDArray[np.float64],
    blocks: Sequence[int] | None = None,
) -> list[dict[str, float]]:
    """Compare the updates ``d_k = models[k] - current`` with their mean ``sum_k weights[k] d_k``.

    Sums run in float64 and client by client, so that results depend neither on a linear algebra library nor on
    how clients are grouped. Everything of a floating type counts, running statistics of normalisation layers
    included; counters and masks do not.

    Parameters
    ----------
    current : Arrays
        The model that the clients started from.
    models : sequence of Arrays
        The clients' models.
    weights : ndarray, (n,)
        Aggregation weights, summing to 1.
    blocks : sequence of int, optional
        The block of each model, as in :func:`strategies.mean.weighted_mean`.

    Returns
    -------
    list of dict
        ``update_norm`` (Euclidean) of each client, and ``cosine``, in [-1, 1], left out where an update is zero.
    """
    mean = mean_update(current, weighted_sums(models, weights, blocks), weights)
    dots, squares = products(current, models, mean)
    return numbers(dots, squares, mean)


def mean_update(current: Arrays, sums: Sums, weights: NDArray[np.float64]) -> Flat:
    """Return ``sum_k weights[k] (models[k] - current)``, given the weighted sums of the models."""
    whole = float(weights.sum())
    return {
        name: (total - whole * current[name].astype(np.float64)).ravel()
        for name, total in sums.items()
        if np.issubdtype(current[name].dtype, np.floating)
    }


def products(
    current: Arrays, models: Sequence[Arrays], mean: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each update's inner product with the mean update, and with itself, both of shape (n,)."""
    dots, squares = np.zeros(len(models)), np.zeros(len(models))
    for name, direction in mean.items():
        for part, updates in _updates(current, models, name):
            dots[part] += _by_row(updates, direction)
            squares[part] += _by_row(updates, updates)
    return dots, squares


def numbers(
    dots: NDArray[np.float64], squares: NDArray[np.float64], mean: Mapping[str, NDArray[np.float64]]
) -> list[dict[str, float]]:
    """Return ``update_norm`` and ``cosine`` of each client, given :func:`products`."""
    mean_square = sum(float(np.einsum("i,i->", part, part)) for part in mean.values())
    found = []
    for dot, square in zip(dots.tolist(), squares.tolist(), strict=True):
        row = {"update_norm": math.sqrt(square)}
        if (length := math.sqrt(square) * math.sqrt(mean_square)) > 0.0:
            row["cosine"] = min(1.0, max(-1.0, dot / length))
        found.append(row)
    return found


def _by_row(updates: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inner product of each row with ``others``, a row for each or one for all.

    Up to the size of its buffer, ``einsum`` sums a row as if it were alone; beyond it each row must be.
    """
    if updates.shape[1] <= TOGETHER:
        found: NDArray[np.float64] = np.einsum("ki,ki->k" if others.ndim == 2 else "ki,i->k", updates, others)
        return found
    each = others if others.ndim == 2 else [others] * len(updates)
    return np.array([np.einsum("i,i->", row, other) for row, other in zip(updates, each, strict=True)])


def _updates(
    current: Arrays, models: Sequence[Arrays], name: str
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Iterate over some models' updates of one array, (k, size), which the next ones overwrite."""
    origin = current[name].astype(np.float64).ravel()
    buffer = np.empty((rows_at_once(len(models), origin.size), origin.size))
    for part in row_groups(len(models), origin.size):
        updates = buffer[: part.stop - part.start]
        updates[:] = rows_of(models, part, name)
        updates -= origin
        yield part, updates
