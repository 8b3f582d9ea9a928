"""Judges thousands of drawn comparisons with the code that judges real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.situations import ALPHA, MARGIN, SITUATIONS, Floats, Situation
from fedbal.comparison.records import Look
from fedbal.comparison.statistics.paired import decide, holm, paired
from fedbal.comparison.statistics.spending import Levels, levels
from fedbal.seeding import stream

COMPARISONS = 20_000


@dataclass(frozen=True)
class Found:
    """What verdicts did in a situation, as shares.

    Attributes
    ----------
    comparisons : int
        Drawn.
    error : float
        Comparisons in which a method without a difference was called better or worse, or another one the wrong way.
    equivalent : float or None
        Comparisons in which a method that differs by the margin or more was called equivalent; None: there is none.
    coverage : float
        Intervals that hold the true difference, at the last look.
    better : tuple of float
        Comparisons in which each method was called better.
    same : tuple of float
        Comparisons in which each method was called equivalent.
    """

    comparisons: int
    error: float
    equivalent: float | None
    coverage: float
    better: tuple[float, ...]
    same: tuple[float, ...]


def simulate(situation: Situation, comparisons: int, generator: np.random.Generator) -> Found:
    """Judge drawn comparisons.

    Parameters
    ----------
    situation : Situation
        What is true.
    comparisons : int
        How many to draw, >= 1.
    generator : numpy.random.Generator
        Of the draws.
    """
    values, truth = situation.draw(generator, comparisons), np.array(situation.effects)
    verdicts = np.full((comparisons, len(truth)), "undecided", dtype="<U10")
    looks: list[Look] = []
    for seeds in situation.looks:
        spend = _levels(situation, seeds, looks)
        found, covered = _judge(values[:, :, :seeds], spend, truth)
        verdicts = np.where(verdicts == "undecided", found, verdicts)
        looks.append(Look(seeds, spend.difference, "", spend.equivalence))
    wrong = np.where(truth > 0.0, verdicts == "worse", verdicts == "better")
    wrong |= (truth == 0.0) & np.isin(verdicts, ["better", "worse"])
    differs = np.abs(truth) >= MARGIN
    alike = verdicts[:, differs] == "equivalent"
    return Found(
        comparisons=comparisons,
        error=float(wrong.any(axis=1).mean()),
        equivalent=float(alike.any(axis=1).mean()) if differs.any() else None,
        coverage=float(covered.mean()),
        better=tuple((verdicts == "better").mean(axis=0).tolist()),
        same=tuple((verdicts == "equivalent").mean(axis=0).tolist()),
    )


def breaches(situation: Situation, found: Found, errors: float = 0.0) -> list[str]:
    """Return what is outside of its bounds, widened by so many standard errors of a share.

    Parameters
    ----------
    situation : Situation
        With the bounds.
    found : Found
        With the shares.
    errors : float
        Standard errors, of a share at the bound, that the simulation may be off.
    """
    intervals = len(situation.effects) * found.comparisons
    bounds: list[tuple[str, float | None, tuple[float, float] | None, int]] = [
        ("error", found.error, situation.error, found.comparisons),
        ("coverage", found.coverage, situation.coverage, intervals),
        (
            "wrong equivalent",
            found.equivalent,
            None if situation.equivalent is None else (0.0, situation.equivalent),
            found.comparisons,
        ),
    ]
    said = []
    for what, share, bound, count in bounds:
        if share is None or bound is None:
            continue
        low, high = (
            end + sign * errors * _standard_error(end, count)
            for end, sign in zip(bound, (-1, 1), strict=True)
        )
        if not low <= share <= high:
            said.append(f"{situation.name}: {what} {share:.4f} is outside of {low:.4f} to {high:.4f}")
    return said


def simulate_all(
    comparisons: int = COMPARISONS, situations: Sequence[Situation] = SITUATIONS
) -> dict[str, Any]:
    """Return what verdicts did in every situation, by its name.

    Parameters
    ----------
    comparisons : int
        How many to draw of each.
    situations : sequence of Situation
        Which.
    """
    return {
        situation.name: asdict(simulate(situation, comparisons, stream(0, "calibration", situation.name)))
        for situation in situations
    }


def _levels(situation: Situation, seeds: int, looks: Sequence[Look]) -> Levels:
    if not situation.corrected:
        return Levels(ALPHA, ALPHA)
    return levels(seeds, situation.looks[-1], ALPHA, looks, len(situation.effects))


def _judge(values: Floats, spend: Levels, truth: Floats) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    """Return verdicts, and whether intervals hold the truth, each (comparisons, methods)."""
    methods = values[:, 1:]
    found = paired(methods, np.broadcast_to(values[:, :1], methods.shape), MARGIN)
    verdicts = decide(
        found.difference,
        holm(found.p),
        holm(found.p_equivalence),
        level=spend.difference,
        level_equivalence=spend.equivalence,
    )
    return verdicts, (found.low <= truth) & (truth <= found.high)


def _standard_error(share: float, count: int) -> float:
    return float(np.sqrt(max(share * (1.0 - share), 0.0) / count))
