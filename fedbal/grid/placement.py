"""Which worker does which work: longest processing time first."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


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
