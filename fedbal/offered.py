"""A grid that offers a strategy exactly the cohort of a round."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.serverapp import Grid

from fedbal.grid.delegating import DelegatingGrid


class OfferedGrid(DelegatingGrid):
    """Delegates to another grid but knows only some of its nodes.

    Strategies that sample by themselves, Flower's own among them, thus work on the seeded cohort.

    Parameters
    ----------
    grid : Grid
        The grid behind it.
    nodes : sequence of int
        The cohort.
    """

    def __init__(self, grid: Grid, nodes: Sequence[int]) -> None:
        super().__init__(grid)
        self._nodes = list(nodes)

    def get_node_ids(self) -> list[int]:
        """Return the cohort."""
        return list(self._nodes)
