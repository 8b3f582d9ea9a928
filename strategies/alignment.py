"""How each client's update lies to the round's mean update: its length and the cosine of their angle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedbal.protocol import Arrays


def alignment(
    current: Arrays, models: Sequence[Arrays], weights: NDArray[np.float64]
) -> list[dict[str, float]]:
    """Compare the updates ``d_k = models[k] - current`` with their mean ``sum_k weights[k] d_k``.

    Sums run in float64, array by array and in the order given, so that memory holds one update at a time and
    results do not depend on a linear algebra library. Everything of a floating type counts, running statistics
    of normalisation layers included; counters and masks do not.

    Parameters
    ----------
    current : Arrays
        The model that the clients started from.
    models : sequence of Arrays
        The clients' models.
    weights : ndarray, (n,)
        Aggregation weights, summing to 1.

    Returns
    -------
    list of dict
        ``update_norm`` (Euclidean) of each client, and ``cosine``, in [-1, 1], left out where an update is zero.
    """
    dots, squares, mean_square = np.zeros(len(models)), np.zeros(len(models)), 0.0
    for name, start in current.items():
        if not np.issubdtype(start.dtype, np.floating):
            continue
        origin = start.astype(np.float64).ravel()
        mean = np.zeros_like(origin)
        for model, weight in zip(models, weights, strict=True):
            mean += weight * (model[name].ravel() - origin)
        mean_square += float(np.einsum("i,i->", mean, mean))
        for k, model in enumerate(models):
            update = model[name].ravel() - origin
            dots[k] += np.einsum("i,i->", update, mean)
            squares[k] += np.einsum("i,i->", update, update)
    found = []
    for dot, square in zip(dots.tolist(), squares.tolist(), strict=True):
        numbers = {"update_norm": math.sqrt(square)}
        if (length := math.sqrt(square) * math.sqrt(mean_square)) > 0.0:
            numbers["cosine"] = min(1.0, max(-1.0, dot / length))
        found.append(numbers)
    return found
