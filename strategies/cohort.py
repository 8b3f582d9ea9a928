"""Seeded cohort sampling: who is asked in a round depends on the seed and the round alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedbal.seeding import stream

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Availability(Protocol):
    """Who can be asked in a round, as one weight a client."""

    def weights(
        self, server_round: int, generator: np.random.Generator, sizes: IntArray, classes: IntArray
    ) -> FloatArray | None:
        """Return the clients' weights in a round, shape (n,), >= 0, zero: not available; None: all alike.

        Parameters
        ----------
        server_round : int
            Round, from 1.
        generator : numpy.random.Generator
            The round's own stream.
        sizes : ndarray, shape (n,)
            Training samples of each client.
        classes : ndarray, shape (n,)
            The class that each client has most samples of.
        """
        ...


class Uniform:
    """Every client can be asked, each with the same probability."""

    def weights(
        self, server_round: int, generator: np.random.Generator, sizes: IntArray, classes: IntArray
    ) -> None:
        """Return None: no client differs from another."""
        return


class SizeProportional:
    """Clients are drawn one after the other, each with probability ``n_k`` over the sum of those not yet drawn.

    The first member of a cohort is client k with probability ``n_k / n``. A cohort of everyone is everyone, so the
    more clients a round has, the closer inclusion comes to uniform.
    """

    def weights(
        self, server_round: int, generator: np.random.Generator, sizes: IntArray, classes: IntArray
    ) -> FloatArray:
        """Return the sample counts."""
        return sizes.astype(np.float64)


@dataclass(frozen=True)
class LabelCorrelated:
    """Clients come and go with the class that dominates their data, as daytime and region do.

    In round t a client with dominant class c is available with probability

        p_c(t) = 1 - strength * (1 - cos(2 pi (t / period - c / C))) / 2,

    C being one more than the largest dominant class: each class has its peak (p = 1) at another time of the
    period and its trough (p = 1 - strength) half a period later. The cohort is then drawn uniformly from the
    clients that are available, and is smaller when there are fewer of them. Periodic availability tied to the
    data is the setting of Eichner, Koren, McMahan, Srebro, Talwar, "Semi-Cyclic Stochastic Gradient Descent",
    ICML 2019; probabilities that differ over clients and change over rounds are that of Xiang, Ioannidis, Yeh,
    Joe-Wong, Su, "Efficient Federated Learning against Heterogeneous and Non-stationary Client Unavailability",
    NeurIPS 2024, arXiv 2409.17446. The formula, with its phase by class, is fedbal's own.

    Attributes
    ----------
    period : float
        Rounds after which availability repeats, > 0.
    strength : float
        In [0, 1]; 0: every client is always available.
    """

    period: float = 20.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.period <= 0.0 or not 0.0 <= self.strength <= 1.0:
            raise ValueError(f"need period > 0, 0 <= strength <= 1; got {self.period}, {self.strength}")

    def probabilities(self, server_round: int, classes: IntArray) -> FloatArray:
        """Return each client's probability of being available, shape (n,)."""
        if not len(classes):
            return np.empty(0)
        phase = server_round / self.period - classes / (int(classes.max()) + 1)
        return np.asarray(1.0 - self.strength * (1.0 - np.cos(2.0 * np.pi * phase)) / 2.0, np.float64)

    def weights(
        self, server_round: int, generator: np.random.Generator, sizes: IntArray, classes: IntArray
    ) -> FloatArray:
        """Return 1 for a client that is available in this round, else 0."""
        available = generator.random(len(classes)) < self.probabilities(server_round, classes)
        return available.astype(np.float64)


@dataclass(frozen=True)
class CohortSampler:
    """Sampling without replacement, uniform or by availability.

    Attributes
    ----------
    seed : int
        Training seed.
    fraction : float, optional
        Share of the population, in (0, 1]; at least one client.
    size : int, optional
        Number of clients, >= 1; exactly one of ``fraction`` and ``size`` is given.
    availability : Availability
        Who can be asked; fewer available clients than wanted make a smaller cohort, none an empty one.
    sizes, classes : ndarray, shape (n,)
        Training samples and dominant class of each member of the population, for availabilities that read them.
    """

    seed: int
    fraction: float | None = 1.0
    size: int | None = None
    availability: Availability = field(default_factory=Uniform)
    sizes: IntArray = field(default_factory=lambda: np.empty(0, np.int64), compare=False)
    classes: IntArray = field(default_factory=lambda: np.empty(0, np.int64), compare=False)

    def __post_init__(self) -> None:
        if (self.fraction is None) == (self.size is None):
            raise ValueError(f"give exactly one of fraction and size, got {self.fraction} and {self.size}")

    def count(self, population: int) -> int:
        """Return how many clients a round wants; raises ``ValueError`` when there are not enough."""
        if self.size is None:
            assert self.fraction is not None
            return min(population, max(1, round(self.fraction * population)))
        if self.size > population:
            raise ValueError(f"a cohort of {self.size} clients was asked of {population} that have data")
        return self.size

    def sample(self, server_round: int, population: Sequence[int]) -> list[int]:
        """Return the members of round ``server_round``, in the order of the population."""
        count = self.count(len(population))
        generator = stream(self.seed, "cohort", server_round)
        weights = self.availability.weights(server_round, generator, self.sizes, self.classes)
        if weights is not None:
            chosen = self._weighted(weights, len(population), count, generator)
        elif count == len(population):
            return list(population)
        else:
            # Floyd's algorithm: a draw from a large population does not list it.
            chosen = generator.choice(len(population), count, replace=False, shuffle=False)
        return [population[int(index)] for index in np.sort(chosen)]

    def _weighted(
        self, weights: FloatArray, population: int, count: int, generator: np.random.Generator
    ) -> IntArray:
        name = type(self.availability).__name__
        if weights.shape != (population,):
            raise ValueError(f"{name} gives weights of shape {weights.shape} to {population} clients")
        if not (np.isfinite(weights).all() and (weights >= 0.0).all()):
            raise ValueError(f"{name} gives weights that are negative or not finite")
        return weighted_sample(weights, count, generator)


def weighted_sample(weights: FloatArray, count: int, generator: np.random.Generator) -> IntArray:
    """Draw positions one after the other without replacement, each with probability proportional to its weight.

    The smallest of independent exponential times with rates ``weights`` come in exactly that order: Efraimidis,
    Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 97(5), 2006.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        >= 0; positions of weight 0 are never drawn.
    count : int
        Positions to draw; all of positive weight when there are fewer.
    generator : numpy.random.Generator
        Where the draws come from.

    Returns
    -------
    ndarray, shape (min(count, number of positive weights),)
        Positions, in no particular order.
    """
    candidates = np.flatnonzero(weights > 0.0)
    if count >= len(candidates):
        return candidates
    times = generator.standard_exponential(len(candidates)) / weights[candidates]
    return np.asarray(candidates[np.argpartition(times, count)[:count]], np.int64)
