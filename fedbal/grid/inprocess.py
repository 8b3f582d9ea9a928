"""All clients in this process, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flwr.app import ArrayRecord
from flwr.clientapp import ClientApp

from clients.app import TrainingApp
from fedbal.errors import RunError
from fedbal.grid.base import VirtualGrid
from fedbal.grid.chunks import Chunks
from fedbal.grid.lean import CohortTask, CohortWorker, call
from fedbal.grid.work import NodeDirectory, Outcome, Runner, Task


class Hand:
    """Who does the work of clients in this process: one ClientApp, used by one thread at a time.

    Parameters
    ----------
    app : ClientApp
        What every client runs.
    directory : NodeDirectory
        The population.
    """

    def __init__(self, app: ClientApp, directory: NodeDirectory) -> None:
        self._leaving = False
        self._runner = Runner(app, directory)
        self._trainer = CohortWorker(app, directory) if isinstance(app, TrainingApp) else None

    @property
    def trains_cohorts(self) -> bool:
        """Whether the ClientApp is fedbal's own."""
        return self._trainer is not None

    def leave(self) -> None:
        """End the work soon; another thread may say so."""
        self._leaving = True
        if self._trainer is not None:
            self._trainer.leave()

    def join(self, other: Hand) -> None:
        """Let the Python of two hands run in turns."""
        if self._trainer is not None and other._trainer is not None:
            self._trainer.turn.join(other._trainer.turn)

    def step(self, what: str, task: CohortTask, argument: Any, payloads: Sequence[ArrayRecord]) -> Any:
        """Do one step of :mod:`fedbal.grid.lean`."""
        if self._trainer is None:
            raise NotImplementedError("only fedbal's own clients are trained without messages")
        return call(self._trainer, what, task, argument, payloads)

    def run(
        self, tasks: Sequence[Task], chunks: Sequence[Sequence[int]], payloads: Sequence[ArrayRecord]
    ) -> dict[int, Outcome]:
        """Run the tasks at some positions, chunk by chunk."""
        shared = dict(enumerate(payloads))
        outcomes: dict[int, Outcome] = {}
        for chunk in chunks:
            if self._leaving:
                raise RunError("the work of a round was ended")
            answers = self._runner.run_chunk([tasks[position] for position in chunk], shared)
            outcomes.update(zip(chunk, answers, strict=True))
        return outcomes


class InProcessGrid(VirtualGrid):
    """A grid without other processes.

    Parameters
    ----------
    app : ClientApp
        What every client runs.
    directory : NodeDirectory
        The population.
    nodes : sequence of int
        Node ids that can be asked.
    chunks : Chunks, optional
        Which clients are trained at once; None: each by itself.
    """

    def __init__(
        self, app: ClientApp, directory: NodeDirectory, nodes: Sequence[int], chunks: Chunks | None = None
    ) -> None:
        super().__init__(directory, nodes, chunks)
        self._hand = Hand(app, directory)

    @property
    def trains_cohorts(self) -> bool:
        """Whether the ClientApp is fedbal's own."""
        return self._hand.trains_cohorts

    def cohort_step(
        self, what: str, tasks: Sequence[CohortTask], argument: Any, payloads: Sequence[ArrayRecord] = ()
    ) -> list[Any]:
        """Do the step here."""
        return [self._hand.step(what, task, argument, payloads) for task in tasks]

    def execute(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        """Run the tasks chunk by chunk."""
        outcomes = self._hand.run(tasks, self.chunks_of(tasks), payloads)
        return [outcomes[position] for position in range(len(tasks))]
