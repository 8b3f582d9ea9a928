"""Which clients of a round belong together: a pure function of the cohort and the engine, never of the workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.engine import Engine
from clients.training import LocalPlan
from fedbal.grid.work import TRAIN, Task, client_of
from fedbal.protocol import LOCAL_WORK, config_of


@dataclass(frozen=True)
class Chunks:
    """Cuts a cohort into chunks.

    Attributes
    ----------
    engine : Engine
        How clients are trained.
    plan : LocalPlan
        Local work and batch size.
    sizes : ndarray, shape (n,)
        Training samples of each client of the population.
    """

    engine: Engine
    plan: LocalPlan
    sizes: NDArray[np.integer[Any]]

    def of(self, nodes: Sequence[int], units: Sequence[int | None]) -> list[list[int]]:
        """Return the positions that belong together, each of them once.

        Clients that are trained at once are sorted by their steps first, most to fewest, so that those of a chunk
        have about the same; ties keep their order. A loop's chunks are neighbours in the given order.

        Parameters
        ----------
        nodes : sequence of int
            Node ids, in client order.
        units : sequence of int or None
            Local work of each, None: as planned.
        """
        order = list(range(len(nodes)))
        if self.engine.together:
            steps = [
                self.plan.num_steps(int(self.sizes[client_of(node)]), work)
                for node, work in zip(nodes, units, strict=True)
            ]
            order.sort(key=lambda position: -steps[position])
        size = self.engine.chunk
        return [order[first : first + size] for first in range(0, len(order), size)]

    def of_tasks(self, tasks: Sequence[Task]) -> list[list[int]]:
        """Return the chunks of messages; all but training, and a loop's, are answered one by one."""
        if not self.engine.together or any(task.kind != TRAIN for task in tasks):
            return [[position] for position in range(len(tasks))]
        work = [config_of(task.content).get(LOCAL_WORK) for task in tasks]
        units = [None if one is None else int(one) for one in work]  # type: ignore[arg-type]
        return self.of([task.node for task in tasks], units)
