"""All clients in this process, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import ArrayRecord
from flwr.clientapp import ClientApp

from fedbal.grid.base import VirtualGrid
from fedbal.grid.chunks import Chunks
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

    def execute(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        """Run the tasks chunk by chunk."""
        shared = dict(enumerate(payloads))
        outcomes: dict[int, Outcome] = {}
        for chunk in self.chunks_of(tasks):
            answers = self._runner.run_chunk([tasks[position] for position in chunk], shared)
            outcomes.update(zip(chunk, answers, strict=True))
        return [outcomes[position] for position in range(len(tasks))]
