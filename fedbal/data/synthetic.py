"""Synthetic(alpha, beta) and Synthetic_IID.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith. Federated Optimization in Heterogeneous Networks. MLSys 2020.

Device k has n_k = floor(LogNormal(4, 2)) + 50 rows, u_k ~ N(0, alpha), B_k ~ N(0, beta), v_k ~ N(B_k, 1) in
R^60, W_k ~ N(u_k, 1) in R^(60 x 10), b_k ~ N(u_k, 1) in R^10; x ~ N(v_k, diag(j ** -1.2)) and
y = argmax(x W_k + b_k).
alpha and beta are standard deviations, as in the authors' generator. The first floor(0.9 n_k) rows train, the
rest are pooled as global test set; rows of a device are independent, so they need no shuffling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedbal.data.dataset import Dataset, FloatArray, IntArray, Request

FEATURES, CLASSES = 60, 10
_SCALE = np.arange(1, FEATURES + 1, dtype=np.float64) ** -0.6


@dataclass(frozen=True)
class Devices:
    """What is drawn for all devices before any row: ``n (K,)``, ``u (K,)``, ``B (K,)``, ``v (K, 60)``."""

    n: IntArray
    u: FloatArray
    B: FloatArray
    v: FloatArray


def load(request: Request, *, alpha: float, beta: float, iid: bool, clients: int) -> Dataset:
    """Generate the devices; column ``client`` holds the device of each row.

    Parameters
    ----------
    request : Request
        Its seed, modulo 2^32, seeds NumPy's legacy generator, so that published numbers are met.
    alpha, beta : float
        Standard deviations of u and B over devices, >= 0; without effect if ``iid``.
    iid : bool
        One W, b ~ N(0, 1) for all devices and v = 0.
    clients : int
        Number of devices, >= 1.
    """
    rng = np.random.RandomState(request.seed % 2**32)
    devices = draw_devices(rng, alpha, beta, iid, clients)
    common = _draw_model(rng, 0.0) if iid else None
    x = np.empty((int(devices.n.sum()), FEATURES), dtype=np.float32)
    y = np.empty(len(x), dtype=np.int64)
    starts = np.cumsum(devices.n) - devices.n
    for device in range(clients):
        weight, bias = common if common is not None else _draw_model(rng, devices.u[device])
        rows = devices.v[device] + rng.standard_normal((int(devices.n[device]), FEATURES)) * _SCALE
        place = slice(int(starts[device]), int(starts[device] + devices.n[device]))
        x[place], y[place] = rows, np.argmax(rows @ weight + bias, axis=1)
    owner = np.repeat(np.arange(clients), devices.n)
    trains = np.arange(len(x)) - starts[owner] < np.floor(0.9 * devices.n)[owner]
    return Dataset(
        name="synthetic",
        x=x[trains],
        y=y[trains],
        x_test=x[~trains],
        y_test=y[~trains],
        classes=tuple(str(label) for label in range(CLASSES)),
        columns={"client": owner[trains]},
        test_columns={"client": owner[~trains]},
        source=f"generated: Synthetic{'_IID' if iid else f'({alpha:g}, {beta:g})'}, seed {request.seed}",
        licence="none needed",
    )


def draw_devices(rng: np.random.RandomState, alpha: float, beta: float, iid: bool, clients: int) -> Devices:
    """Draw sizes, u, B and v of all devices, in this order."""
    n = np.floor(rng.lognormal(4, 2, clients)).astype(np.int64) + 50
    u = rng.normal(0, alpha, clients)
    centre = rng.normal(0, beta, clients)
    if iid:
        return Devices(n, np.zeros(clients), np.zeros(clients), np.zeros((clients, FEATURES)))
    return Devices(n, u, centre, rng.normal(centre[:, None], 1, (clients, FEATURES)))


def _draw_model(rng: np.random.RandomState, mean: float) -> tuple[FloatArray, FloatArray]:
    return rng.normal(mean, 1, (FEATURES, CLASSES)), rng.normal(mean, 1, CLASSES)
