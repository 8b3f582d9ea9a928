"""All clients in this process, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import ArrayRecord
from flwr.clientapp import ClientApp

from fedbal.grid.base import VirtualGrid
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
    """

    def __init__(self, app: ClientApp, directory: NodeDirectory, nodes: Sequence[int]) -> None:
        super().__init__(directory, nodes)
        self._runner = Runner(app, directory)

    def execute(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        """Run the tasks in order."""
        shared = dict(enumerate(payloads))
        return [self._runner.run(task, shared) for task in tasks]
