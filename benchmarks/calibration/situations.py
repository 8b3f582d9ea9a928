"""Situations in which verdicts are tried: what is true, and how outcomes scatter about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, int, int]], Floats]

LEVEL = 0.7
"""Mean outcome."""
SHARED = 0.02
"""Spread of what all methods of a seed share."""
MARGIN = 0.005
ALPHA = 0.05
CHANCE = 0.1


@dataclass(frozen=True)
class Situation:
    """Something that verdicts must get right.

    Attributes
    ----------
    name : str
        In words.
    effects : tuple of float
        True difference of each method from the baseline.
    noise : callable
        Draws what methods do not share, shape (comparisons, methods with the baseline first, seeds), of mean 0.
    looks : tuple of int
        Seeds at each look; the last number is the plan.
    corrected : bool
        Whether looks share alpha; False shows what happens without.
    step : float
        Outcomes come in steps of this size; 0: they are continuous.
    diverged : float
        Chance of a run to diverge and count as :data:`CHANCE`.
    error, coverage : tuple of two floats, or None
        Where the share of comparisons with a wrong better or worse must lie, and that of intervals that hold the
        true difference; None: not judged.
    equivalent : float or None
        Most wrong calls of equivalence; None: not judged.
    remark : str
        What a reader must know.
    """

    name: str
    effects: tuple[float, ...]
    noise: Noise
    looks: tuple[int, ...] = (10,)
    corrected: bool = True
    step: float = 0.0
    diverged: float = 0.0
    error: tuple[float, float] | None = (0.04, 0.06)
    coverage: tuple[float, float] | None = (0.93, 0.97)
    equivalent: float | None = 0.05
    remark: str = ""

    def draw(self, generator: np.random.Generator, comparisons: int) -> Floats:
        """Draw outcomes, shape (comparisons, methods with the baseline first, seeds).

        Parameters
        ----------
        generator : numpy.random.Generator
            Of the draws.
        comparisons : int
            How many.
        """
        shape = comparisons, len(self.effects) + 1, self.looks[-1]
        shared = generator.normal(LEVEL, SHARED, (comparisons, 1, shape[2]))
        values: Floats = shared + self.noise(generator, shape) + np.array([0.0, *self.effects])[:, None]
        if self.step:
            values = np.round(values / self.step) * self.step
        if self.diverged:
            values = np.where(generator.random(shape) < self.diverged, CHANCE, values)
        return values


def normal(*spreads: float) -> Noise:
    """Return normal noise with a spread for each method, the baseline first; one number for all."""

    def draw(generator: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
        drawn: Floats = generator.normal(0.0, 1.0, shape) * np.array(spreads)[:, None]
        return drawn

    return draw


def skewed(spread: float, shape_parameter: float, *signs: float) -> Noise:
    """Return gamma noise with a long tail to the side of each sign, the baseline first; one number for all."""

    def draw(generator: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
        drawn = (generator.gamma(shape_parameter, 1.0, shape) - shape_parameter) / np.sqrt(shape_parameter)
        tailed: Floats = spread * drawn * np.array(signs)[:, None]
        return tailed

    return draw


SITUATIONS = (
    Situation("no difference", (0.0, 0.0), normal(0.01)),
    Situation(
        "no difference, one method",
        (0.0,),
        normal(0.01),
    ),
    Situation(
        "no difference, five methods",
        (0.0,) * 5,
        normal(0.01),
        error=(0.0, 0.06),
        remark="all five share the baseline's noise, which Holm's procedure does not use: it errs on the safe side",
    ),
    Situation("no difference, unequal variances", (0.0, 0.0), normal(0.01, 0.003, 0.03)),
    Situation(
        "no difference, outcomes in steps of 1 %",
        (0.0, 0.0),
        normal(0.01),
        step=0.01,
        error=(0.0, 0.06),
        remark="many differences tie or are 0, and a test that counts them exactly is then careful",
    ),
    Situation("no difference, skewed outcomes", (0.0, 0.0), skewed(0.01, 1.0, -1.0)),
    Situation(
        "mean difference 0, but skewed differences",
        (0.0, 0.0),
        skewed(0.01, 4.0, 0.3, 1.0, -1.0),
        error=(0.04, 0.07),
        remark="the methods do differ, in all but the mean: no test of means is exact here; up to 7 % may pass",
    ),
    Situation(
        "no difference, 5 % of the runs diverge",
        (0.0, 0.0),
        normal(0.01),
        diverged=0.05,
        error=(0.0, 0.06),
        coverage=(0.93, 1.0),
        remark="a run at chance level widens the interval more than it moves the mean, so intervals are too wide",
    ),
    Situation("no difference, looks at 5 and 10 seeds", (0.0, 0.0), normal(0.01), looks=(5, 10)),
    Situation(
        "no difference, looks at 6, 9 and 12 seeds",
        (0.0, 0.0),
        normal(0.01),
        looks=(6, 9, 12),
        error=(0.0, 0.06),
        remark="looks share alpha as if they did not depend on each other: on the safe side",
    ),
    Situation(
        "the same looks, each at the whole level",
        (0.0, 0.0),
        normal(0.01),
        looks=(6, 9, 12),
        corrected=False,
        error=None,
        equivalent=None,
        remark="what looking again does without the correction",
    ),
    Situation("difference of just the margin", (MARGIN, -MARGIN), normal(0.003), error=None),
    Situation(
        "difference of just the margin, unequal variances",
        (MARGIN, -MARGIN),
        normal(0.003, 0.001, 0.006),
        error=None,
    ),
    Situation(
        "difference of just the margin, looks at 5 and 10 seeds",
        (MARGIN, -MARGIN),
        normal(0.003),
        looks=(5, 10),
        error=None,
    ),
    Situation("one better by 1.5 points, one equal", (0.015, 0.0), normal(0.01)),
    Situation(
        "one better by 1.5 points, one equal; looks at 5 and 10 seeds",
        (0.015, 0.0),
        normal(0.01),
        looks=(5, 10),
    ),
    Situation("equal, with little noise", (0.0, 0.0), normal(0.003)),
)
