"""Quantity skew: how large a part of the data each client gets, whatever its labels."""

from __future__ import annotations

import numpy as np

from fedbal.data.dataset import FloatArray


def lognormal(clients: int, rng: np.random.Generator, *, sigma: float) -> FloatArray:
    """Return ``(clients,)`` proportions exp(sigma z), z standard normal; sigma 0 is equal sizes."""
    logs = sigma * rng.standard_normal(clients)
    return _normalise(np.exp(logs - logs.max()))


def power_law(clients: int, rng: np.random.Generator, *, exponent: float) -> FloatArray:
    """Return ``(clients,)`` proportions rank ** -exponent, the ranks 1..clients in random order."""
    return _normalise(rng.permutation(np.arange(1, clients + 1, dtype=np.float64) ** -exponent))


def dirichlet_sizes(clients: int, rng: np.random.Generator, *, alpha: float) -> FloatArray:
    """Return ``(clients,)`` proportions drawn from a symmetric Dirichlet(alpha)."""
    return _normalise(rng.dirichlet(np.full(clients, alpha)))


def _normalise(weights: FloatArray) -> FloatArray:
    result: FloatArray = weights / weights.sum()
    return result
