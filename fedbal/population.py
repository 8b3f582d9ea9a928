"""Who can be asked, and who is who."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Population:
    """Who can be asked.

    Attributes
    ----------
    nodes : sequence of int
        Node ids of clients with training data, ascending.
    testers : sequence of int
        Node ids of clients that evaluate, ascending.
    client : callable
        Node id to client index.
    keys : callable
        Client index to key.
    samples : ndarray, shape (clients,)
        Training samples.
    unseen : frozenset of int
        Node ids of clients that never train; they evaluate on all their data.
    """

    nodes: Sequence[int]
    testers: Sequence[int]
    client: Callable[[int], int]
    keys: Callable[[int], str]
    samples: NDArray[np.int64]
    unseen: frozenset[int] = frozenset()

    def tests(self, node: int) -> bool:
        """Tell whether a client evaluates."""
        position = bisect_left(self.testers, node)
        return position < len(self.testers) and self.testers[position] == node
