"""How the clients of a round are trained: one after the other, or many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["loop", "vectorized", "compiled"]


@dataclass(frozen=True)
class Engine:
    """The engine of a run; the same for all its clients, rounds and workers.

    Attributes
    ----------
    kind : {"loop", "vectorized", "compiled"}
        One client after the other; the clients of a chunk at once with stacked parameters; the same through a
        compiled step.
    chunk : int
        Clients that belong together, >= 1: trained at once, and added up first where sums are formed by chunk.
    """

    kind: Kind = "loop"
    chunk: int = 1

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"chunk must be >= 1, got {self.chunk}")

    @property
    def together(self) -> bool:
        """Whether the clients of a chunk are trained at once."""
        return self.kind != "loop"


LOOP = Engine()
"""One client after the other."""
