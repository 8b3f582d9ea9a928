"""A grid of devices: evaluations ride in training messages, and who does not answer has a reason."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedbal.grid.delegating import DelegatingGrid


class RidingGrid(DelegatingGrid):
    """A grid on which a message is dear: one phase a round.

    Parameters
    ----------
    grid : Grid
        The grid behind it.

    Attributes
    ----------
    seconds : dict
        Node id to the seconds between sending a message and its answer, of those that were sent together last.
    missing : dict
        Node id to the reason why it gave no answer, of those that were sent together last.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self.seconds: dict[int, float] = {}
        self.missing: dict[int, str] = {}

    @abstractmethod
    def ride(self, nodes: Sequence[int], content: RecordDict) -> None:
        """Let nodes evaluate the model of ``content`` along with whatever is sent next.

        Those that are sent the same model for training do it in that message, the others get one of their own.
        """

    @abstractmethod
    def rode(self) -> list[Message]:
        """Return the answers to the evaluations that rode last, by node id, and forget them."""
