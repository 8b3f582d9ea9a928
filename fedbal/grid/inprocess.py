"""All clients in this process, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flwr.app import ArrayRecord
from flwr.clientapp import ClientApp

from clients.app import TrainingApp
from fedbal.grid.base import VirtualGrid
from fedbal.grid.chunks import Chunks
from fedbal.grid.lean import CohortTask, CohortWorker, call
from fedbal.grid.work import NodeDirectory, Outcome, Runner, Task


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
        self._runner = Runner(app, directory)
        self._trainer = CohortWorker(app, directory) if isinstance(app, TrainingApp) else None

    @property
    def trains_cohorts(self) -> bool:
        """Whether the ClientApp is fedbal's own."""
        return self._trainer is not None

    def cohort_step(
        self, what: str, tasks: Sequence[CohortTask], argument: Any, payloads: Sequence[ArrayRecord] = ()
    ) -> list[Any]:
        """Do the step here."""
        if self._trainer is None:
            return super().cohort_step(what, tasks, argument, payloads)
        return [call(self._trainer, what, task, argument, payloads) for task in tasks]

    def execute(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        """Run the tasks chunk by chunk."""
        shared = dict(enumerate(payloads))
        outcomes: dict[int, Outcome] = {}
        for chunk in self.chunks_of(tasks):
            answers = self._runner.run_chunk([tasks[position] for position in chunk], shared)
            outcomes.update(zip(chunk, answers, strict=True))
        return [outcomes[position] for position in range(len(tasks))]
