"""Which worker does which work: longest processing time first, by size and later by measured time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fedbal.protocol import LOCAL_WORK
from strategies.order import CohortOrder
from strategies.stacked import StackedReplies

NEWEST = 0.5
"""Weight of the latest measurement in a client's mean."""


class Costs:
    """What a client's local work is expected to cost: its size, refined by what it took before.

    Only where work is placed depends on it, never a result.

    Parameters
    ----------
    work : sequence of float
        Size of each client's local work, by client index, in any unit.
    """

    def __init__(self, work: Sequence[float] | NDArray[np.float64]) -> None:
        self._work = work
        self._rates: dict[int, float] = {}
        self._mean = 1.0

    def of(self, client: int) -> float:
        """Return the expected seconds; of a client not seen yet at the mean rate of those that were."""
        return float(self._work[client]) * self._rates.get(client, self._mean)

    def learn(self, client: int, seconds: float) -> None:
        """Take a measurement into the exponential means of the client and of all clients."""
        work = float(self._work[client])
        if work <= 0.0 or seconds < 0.0:
            return
        rate = seconds / work
        before = self._rates.get(client, rate)
        self._mean = self._moved(self._mean, rate) if self._rates else rate
        self._rates[client] = self._moved(before, rate)

    def learn_round(
        self, order: CohortOrder, replies: StackedReplies, client_of: Callable[[int], int]
    ) -> None:
        """Take what a round's clients measured, of those that did all of their work."""
        for node, seconds in replies.seconds.items():
            if node not in replies.failed and LOCAL_WORK not in order.own.get(node, {}):
                self.learn(client_of(node), seconds)

    def placed(self, groups: Sequence[Sequence[int]], workers: int) -> list[list[int]]:
        """Return for each worker which groups of clients it trains."""
        return longest_first([sum(map(self.of, group)) for group in groups], workers)

    @staticmethod
    def _moved(mean: float, value: float) -> float:
        return mean + NEWEST * (value - mean)


def longest_first(costs: Sequence[float], workers: int) -> list[list[int]]:
    """Place tasks on workers, the most expensive first, each on the least loaded worker.

    Parameters
    ----------
    costs : sequence of float, length n
        Expected cost of each task, in any unit.
    workers : int
        Number of workers, >= 1.

    Returns
    -------
    list of list of int
        For each worker the indices of its tasks, ascending.
    """
    loads = [(0.0, worker) for worker in range(workers)]
    placed: list[list[int]] = [[] for _ in range(workers)]
    for index in sorted(range(len(costs)), key=lambda task: (-costs[task], task)):
        load, worker = heapq.heappop(loads)
        placed[worker].append(index)
        heapq.heappush(loads, (load + costs[index], worker))
    return [sorted(tasks) for tasks in placed]
