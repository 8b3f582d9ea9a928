"""FedNova's measure of local work: the norm of a client's accumulation vector."""

from __future__ import annotations


def normalised_steps(steps: int, momentum: float = 0.0, pull: float = 0.0) -> float:
    """Return ``a_k``, by how much ``steps`` local steps multiply a constant gradient, over the learning rate.

    Wang et al., NeurIPS 2020: plain SGD counts steps; momentum rho gives
    ``(tau - rho (1 - rho^tau) / (1 - rho)) / (1 - rho)``; a proximal term shrinks what was accumulated by
    ``1 - lr mu`` before every step.

    Parameters
    ----------
    steps : int
        Local steps, >= 0.
    momentum : float
        In [0, 1).
    pull : float
        ``lr * mu`` of a proximal term, >= 0.
    """
    counter, total = 0.0, 0.0
    for _ in range(steps):
        counter = momentum * counter + 1.0
        total = (1.0 - pull) * total + counter
    return total
