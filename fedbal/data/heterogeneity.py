"""What a partition came out as: sizes, class counts, distances, all over training rows."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from fedbal.data.dataset import FloatArray, IntArray
from fedbal.data.federation import CLIENTS_AT_ONCE, Federation


@dataclass(frozen=True)
class Heterogeneity:
    """Realised heterogeneity of a federation's training rows; NaN where a client has none, or rows have no class.

    Attributes
    ----------
    sizes : numpy.ndarray
        ``(clients,)`` rows.
    counts : numpy.ndarray
        ``(clients, classes)`` rows.
    imbalance_factor : float
        Most common over rarest class, >= 1; infinite if a class has no row.
    total_variation, jensen_shannon : numpy.ndarray
        ``(clients,)`` distance in [0, 1] of each client's class distribution to the global one.
        Jensen-Shannon is the square root of the divergence to base 2.
    global_total_variation, global_jensen_shannon : float
        Distance in [0, 1] of the global class distribution to uniform.
    effective_classes : numpy.ndarray
        ``(clients,)`` exp(entropy) of each client's class distribution, from 1 to the number of classes.
    gini : float
        Gini coefficient of the sizes, clients without rows included: 0 is equal, 1 - 1/clients is one has all.
    """

    sizes: IntArray
    counts: IntArray
    imbalance_factor: float
    total_variation: FloatArray
    jensen_shannon: FloatArray
    global_total_variation: float
    global_jensen_shannon: float
    effective_classes: FloatArray
    gini: float

    def of(self, clients: IntArray) -> Heterogeneity:
        """Keep the entries of some clients alone; what is measured over all clients stays as it is."""
        per_client = ("sizes", "counts", "total_variation", "jensen_shannon", "effective_classes")
        return replace(self, **{name: getattr(self, name)[clients] for name in per_client})

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for JSON; what is NaN or infinite is None."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


def describe(federation: Federation, counts: IntArray | None = None) -> Heterogeneity:
    """Measure a federation's training rows, its ``label_counts`` given or made; masks have sizes only."""
    counts = federation.label_counts() if counts is None else counts
    return measure(counts) if counts.shape[1] else _of_sizes(federation.train.sizes)


def _of_sizes(sizes: IntArray) -> Heterogeneity:
    nowhere = np.full(len(sizes), np.nan)
    return Heterogeneity(
        sizes=sizes,
        counts=np.zeros((len(sizes), 0), np.int64),
        imbalance_factor=float("nan"),
        total_variation=nowhere,
        jensen_shannon=nowhere,
        global_total_variation=float("nan"),
        global_jensen_shannon=float("nan"),
        effective_classes=nowhere,
        gini=_gini(sizes),
    )


def measure(counts: IntArray) -> Heterogeneity:
    """Measure a table of rows per client and class, ``(clients, classes)``, at least one row in all."""
    sizes = counts.sum(axis=1)
    classes = counts.sum(axis=0)
    overall = classes / classes.sum()
    uniform = np.full(len(classes), 1.0 / len(classes))
    with np.errstate(divide="ignore", invalid="ignore"):
        imbalance = float(classes.max() / classes.min()) if classes.min() else float("inf")
        far, apart, effective = _by_client(counts, sizes, overall)
    return Heterogeneity(
        sizes=sizes,
        counts=counts,
        imbalance_factor=imbalance,
        total_variation=far,
        jensen_shannon=apart,
        global_total_variation=float(total_variation(overall[None], uniform)[0]),
        global_jensen_shannon=float(jensen_shannon(overall[None], uniform)[0]),
        effective_classes=effective,
        gini=_gini(sizes),
    )


def _by_client(counts: IntArray, sizes: IntArray, overall: FloatArray) -> FloatArray:
    """Return total variation, Jensen-Shannon distance and effective classes of each client, (3, clients)."""
    found: FloatArray = np.empty((3, len(counts)))
    for first in range(0, len(counts), CLIENTS_AT_ONCE):
        part = slice(first, first + CLIENTS_AT_ONCE)
        shares = counts[part] / sizes[part, None]
        found[:, part] = (
            total_variation(shares, overall),
            jensen_shannon(shares, overall),
            np.exp(_entropy(shares)),
        )
    return found


def total_variation(shares: FloatArray, reference: FloatArray) -> FloatArray:
    """Return half the L1 distance of each row to the reference, in [0, 1]."""
    result: FloatArray = 0.5 * np.abs(shares - reference).sum(axis=1)
    return result


def jensen_shannon(shares: FloatArray, reference: FloatArray) -> FloatArray:
    """Return the Jensen-Shannon distance of each row to the reference: root of the divergence, base 2."""
    mixture = _entropy(0.5 * (shares + reference))
    divergence = (mixture - 0.5 * (_entropy(shares) + _entropy(reference[None]))) / np.log(2.0)
    # Rounding can push equal distributions below 0; NaN of empty clients passes through.
    result: FloatArray = np.sqrt(np.maximum(divergence, 0.0))
    return result


def _entropy(shares: FloatArray) -> FloatArray:
    """Return the entropy of each row in nats; 0 ln 0 is 0."""
    logs = np.log(np.where(shares == 0.0, 1.0, shares))
    result: FloatArray = -(shares * logs).sum(axis=1)
    return result


def _gini(sizes: IntArray) -> float:
    ranks = 2 * np.arange(1, len(sizes) + 1) - len(sizes) - 1
    return float((ranks * np.sort(sizes)).sum() / (len(sizes) * sizes.sum()))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
