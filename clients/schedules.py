"""Round-wise learning rates: a factor on the optimizer's rate, a pure function of the round.

The factor of round t of T (t = 1..T) uses i = t - 1, the rounds already done, so that round 1 starts at the top and
the factors of torch's schedulers, stepped once a round, are the same numbers. Within a round the rate is constant.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Protocol

from clients.optimizers import Optimizer


class LearningRateSchedule(Protocol):
    """A factor on the learning rate for every round."""

    def factor(self, server_round: int, rounds: int) -> float:
        """Return the factor, >= 0, of round ``server_round`` (from 1) of ``rounds``."""
        ...


def scheduled(
    optimizer: Optimizer, schedule: LearningRateSchedule, server_round: int, rounds: int
) -> Optimizer:
    """Return the optimizer of a round: the given one, or a copy with its ``lr`` times the round's factor.

    Raises
    ------
    ValueError
        The factor is not 1 and the optimizer (a user's own) has no attribute ``lr``.
    """
    factor = schedule.factor(max(server_round, 1), rounds)
    if factor == 1.0:
        return optimizer
    rate = getattr(optimizer, "lr", None)
    if not isinstance(rate, int | float):
        raise ValueError(
            f"a schedule needs an optimizer with a number `lr`, {type(optimizer).__name__} has none"
        )
    scaled = copy.copy(optimizer)
    scaled.lr = rate * factor  # type: ignore[attr-defined]
    return scaled


@dataclass(frozen=True)
class Constant:
    """The optimizer's own rate in every round."""

    def factor(self, server_round: int, rounds: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """``final + (1 - final) * (1 + cos(pi * i / T)) / 2``, as ``torch.optim.lr_scheduler.CosineAnnealingLR``.

    Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation (5), one cycle.

    Attributes
    ----------
    final : float
        Factor that the curve would reach after the last round, in [0, 1]; 1 is constant.
    """

    final: float = 0.0

    def factor(self, server_round: int, rounds: int) -> float:
        """Return the factor of the round."""
        return _cosine(server_round - 1, rounds, self.final)


@dataclass(frozen=True)
class Step:
    """``gamma ** floor(i / every)``, as ``torch.optim.lr_scheduler.StepLR``.

    Attributes
    ----------
    every : int
        Rounds between two drops, >= 1.
    gamma : float
        Factor of a drop, in (0, 1]; 1 is constant.
    """

    every: int
    gamma: float = 0.1

    def factor(self, server_round: int, rounds: int) -> float:
        """Return the factor of the round."""
        return float(self.gamma ** ((server_round - 1) // self.every))


@dataclass(frozen=True)
class Exponential:
    """``gamma ** i``, as ``torch.optim.lr_scheduler.ExponentialLR``.

    Attributes
    ----------
    gamma : float
        Factor from one round to the next, in (0, 1]; 1 is constant.
    """

    gamma: float

    def factor(self, server_round: int, rounds: int) -> float:
        """Return the factor of the round."""
        return float(self.gamma ** (server_round - 1))


@dataclass(frozen=True)
class WarmupCosine:
    """A linear rise over W rounds, then one cosine over the other T - W.

    ``start + (1 - start) * i / W`` for i < W, then the factor of :class:`Cosine` at ``i - W`` of ``T - W``: torch's
    ``LinearLR`` followed by ``CosineAnnealingLR``. With T <= W the run ends while the rate rises.

    Attributes
    ----------
    warmup_rounds : int
        W, >= 1.
    start : float
        Factor of the first round, in (0, 1].
    final : float
        Factor that the curve would reach after the last round, in [0, 1].
    """

    warmup_rounds: int
    start: float = 0.1
    final: float = 0.0

    def factor(self, server_round: int, rounds: int) -> float:
        """Return the factor of the round."""
        done = server_round - 1
        if done < self.warmup_rounds:
            return self.start + (1.0 - self.start) * done / self.warmup_rounds
        return _cosine(done - self.warmup_rounds, rounds - self.warmup_rounds, self.final)


def _cosine(done: int, rounds: int, final: float) -> float:
    share = min(done / max(rounds, 1), 1.0)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * share))
