"""Seeded cohort sampling: who is asked in a round depends on the seed and the round alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedbal.seeding import stream


@dataclass(frozen=True)
class CohortSampler:
    """Uniform sampling without replacement.

    Attributes
    ----------
    seed : int
        Training seed.
    fraction : float, optional
        Share of the population, in (0, 1]; at least one client.
    size : int, optional
        Number of clients, >= 1; exactly one of ``fraction`` and ``size`` is given.
    """

    seed: int
    fraction: float | None = 1.0
    size: int | None = None

    def __post_init__(self) -> None:
        if (self.fraction is None) == (self.size is None):
            raise ValueError(f"give exactly one of fraction and size, got {self.fraction} and {self.size}")

    def count(self, population: int) -> int:
        """Return how many clients a round has; raises ``ValueError`` when there are not enough."""
        if self.size is None:
            assert self.fraction is not None
            return min(population, max(1, round(self.fraction * population)))
        if self.size > population:
            raise ValueError(f"a cohort of {self.size} clients was asked of {population} that have data")
        return self.size

    def sample(self, server_round: int, population: Sequence[int]) -> list[int]:
        """Return the members of round ``server_round``, in the order of the population."""
        count = self.count(len(population))
        if count == len(population):
            return list(population)
        generator = stream(self.seed, "cohort", server_round)
        chosen = generator.choice(len(population), count, replace=False, shuffle=False)
        return [population[int(index)] for index in np.sort(chosen)]
