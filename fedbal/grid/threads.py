"""All clients in this process, trained by several threads: kernels run side by side, Python one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from flwr.app import ArrayRecord
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from fedbal.determinism import pin_thread
from fedbal.grid.base import VirtualGrid
from fedbal.grid.chunks import Chunks
from fedbal.grid.inprocess import Hand
from fedbal.grid.lean import CohortTask
from fedbal.grid.placement import Costs
from fedbal.grid.work import NodeDirectory, Outcome, Task
from strategies.order import CohortOrder
from strategies.stacked import StackedReplies

T = TypeVar("T")


class ThreadGrid(VirtualGrid):
    """A grid of threads, each with a model of its own on the same data.

    For clients whose work is a function of tensors alone, :attr:`fedbal.backend.Load.pure`: whatever else they call
    would be called by several threads. The bytes are those of one worker.

    Parameters
    ----------
    factory : callable
        Makes the ClientApp that every client runs; called once a worker.
    directory : NodeDirectory
        The population.
    nodes : sequence of int
        Node ids that can be asked.
    chunks : Chunks
        Which clients are trained at once.
    costs : sequence of float
        Size of each client's local work, by client index.
    workers : int
        Threads that train, >= 1.
    threads : int
        Threads of torch in each of them.
    """

    def __init__(
        self,
        factory: Callable[[], ClientApp],
        directory: NodeDirectory,
        nodes: Sequence[int],
        chunks: Chunks | None = None,
        *,
        costs: Sequence[float] | NDArray[np.float64],
        workers: int,
        threads: int = 1,
    ) -> None:
        super().__init__(directory, nodes, chunks)
        self._costs = Costs(costs)
        self._hands = [Hand(factory(), directory) for _ in range(workers)]
        for hand in self._hands[1:]:
            hand.join(self._hands[0])
        self._pool = ThreadPoolExecutor(workers, "fedbal-worker", pin_thread, (threads,))

    @property
    def trains_cohorts(self) -> bool:
        """Whether the ClientApp is fedbal's own."""
        return self._hands[0].trains_cohorts

    def placed(self, groups: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return for each worker which groups of nodes it trains."""
        clients = [[self.directory.client(node) for node in group] for group in groups]
        return self._costs.placed(clients, len(self._hands))

    def cohort_step(
        self, what: str, tasks: Sequence[CohortTask], argument: Any, payloads: Sequence[ArrayRecord] = ()
    ) -> list[Any]:
        """Let each worker do the step for its task."""
        return self._side_by_side(lambda hand, task: hand.step(what, task, argument, payloads), tasks)

    def learn(self, order: CohortOrder, replies: StackedReplies) -> None:
        """Remember what the clients' full local work took."""
        self._costs.learn_round(order, replies, self.directory.client)

    def execute(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        """Run the tasks chunk by chunk, each worker its share."""
        chunks = self.chunks_of(tasks)
        shares = self.placed([[tasks[position].node for position in chunk] for chunk in chunks])
        own = [[chunks[number] for number in share] for share in shares]
        outcomes: dict[int, Outcome] = {}
        for found in self._side_by_side(lambda hand, share: hand.run(tasks, share, payloads), own):
            outcomes.update(found)
        return [outcomes[position] for position in range(len(tasks))]

    def close(self) -> None:
        """Let the threads end; what they are at is left within about a second."""
        for hand in self._hands:
            hand.leave()
        self._pool.shutdown(cancel_futures=True)

    def _side_by_side(self, work: Callable[[Hand, Any], T], shares: Sequence[Any]) -> list[T]:
        # The same share goes to the same worker in all steps of a round: it has kept what belongs to it.
        pairs = zip(self._hands, shares, strict=False)
        return [future.result() for future in [self._pool.submit(work, *pair) for pair in pairs]]
