"""Label noise: some clients' training labels are wrong, seeded client by client.

Symmetric noise replaces a label by one of the other classes, all equally likely; class-pair noise by the next
class, the last by the first. Both as in Han et al., "Co-teaching: Robust Training of Deep Neural Networks with
Extremely Noisy Labels", NeurIPS 2018; that rates differ from client to client follows Xu et al., "FedCorr", CVPR
2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fedbal.data.dataset import IntArray
from fedbal.seeding import stream


def noisy_labels(
    labels: IntArray,
    rows: Sequence[IntArray],
    names: Sequence[str],
    num_classes: int,
    *,
    kind: Literal["symmetric", "class_pair"],
    rate: float | Sequence[float],
    clients: float,
    seed: int,
) -> IntArray:
    """Return labels with exactly round(rate * n_k) of a noisy client's n_k rows made wrong.

    Parameters
    ----------
    labels : numpy.ndarray
        ``(n,)`` true classes; never written to.
    rows : sequence of numpy.ndarray
        Per client the rows that may be made wrong.
    names : sequence of str
        Client keys.
    num_classes : int
        Classes in all, at least 2.
    kind : {'symmetric', 'class_pair'}
        What a wrong label is.
    rate : float or (low, high)
        Share of wrong labels in [0, 1]; of a range, each noisy client draws its own.
    clients : float
        Share in (0, 1] of the clients with rows that are noisy, at least one.
    seed : int
        Partition seed.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` labels, a copy.
    """
    noisy = labels.copy()
    with_rows = np.flatnonzero([len(own) > 0 for own in rows])
    if not len(with_rows):
        return noisy
    count = max(1, round(clients * len(with_rows)))
    chosen = stream(seed, "label-noise").permutation(with_rows)[:count]
    low, high = (rate, rate) if isinstance(rate, int | float) else rate
    for client in np.sort(chosen).tolist():
        draw = stream(seed, "label-noise", names[client])
        own = rows[client]
        wrong = draw.permutation(own)[: round(draw.uniform(low, high) * len(own))]
        step = 1 if kind == "class_pair" else draw.integers(1, num_classes, len(wrong))
        noisy[wrong] = (labels[wrong] + step) % num_classes
    return noisy
