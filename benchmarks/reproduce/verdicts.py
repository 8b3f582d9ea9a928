"""What paired differences over seeds say about a claim.

With few seeds an interval is wide and a verdict is often "not shown": that is no evidence of absence, and the mean,
the interval and the signs stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.reproduce.study import Claim

LEVEL = 0.95


@dataclass(frozen=True)
class Paired:
    """Differences a minus b over seeds.

    Attributes
    ----------
    seeds : int
        Pairs.
    mean, sd : float
        Of the differences; sd with n - 1.
    low, high : float
        Student's t interval of the mean at 95 %, two-sided.
    positive, negative, zero : int
        Seeds with a difference of that sign.
    """

    seeds: int
    mean: float
    sd: float
    low: float
    high: float
    positive: int
    negative: int
    zero: int


def paired(a: Sequence[float], b: Sequence[float]) -> Paired:
    """Summarise differences a minus b.

    Parameters
    ----------
    a, b : sequence of float, shape (n,)
        Endpoints of two arms, the same seeds in the same order, n >= 2.
    """
    from scipy.stats import t

    differences = [x - y for x, y in zip(a, b, strict=True)]
    n = len(differences)
    if n < 2:
        raise ValueError(f"{n} pair(s); at least 2 make a spread")
    mean = math.fsum(differences) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (n - 1))
    half = float(t.ppf((1.0 + LEVEL) / 2.0, n - 1)) * sd / math.sqrt(n)
    positive, negative = sum(value > 0.0 for value in differences), sum(value < 0.0 for value in differences)
    return Paired(n, mean, sd, mean - half, mean + half, positive, negative, n - positive - negative)


def verdict(claim: Claim, found: Paired) -> str:
    """Return ``shown``, ``not shown`` or ``opposite``.

    A claimed difference is shown if the interval lies beyond 0 on the claimed side and the mean is at least the
    margin; opposite is the same on the other side. Likeness is shown if the whole interval lies within the
    margin, and opposite if all of it lies outside.
    """
    if claim.direction == "similar":
        if -claim.margin <= found.low and found.high <= claim.margin:
            return "shown"
        return "opposite" if found.low > claim.margin or found.high < -claim.margin else "not shown"
    low, high, mean = found.low, found.high, found.mean
    if claim.direction == "lower":
        low, high, mean = -high, -low, -mean
    if low > 0.0 and mean >= claim.margin:
        return "shown"
    return "opposite" if high < 0.0 and -mean >= claim.margin else "not shown"


def known_pairs(
    first: Mapping[str, Any], second: Mapping[str, Any], endpoint: str
) -> tuple[list[float], list[float]]:
    """Return an endpoint of two arms over the seeds in which both finished and have it.

    Parameters
    ----------
    first, second : mapping
        ``seeds`` of two arms of a results file.
    endpoint : str
        The number.
    """
    values = [
        (first[seed]["endpoints"].get(endpoint), second[seed]["endpoints"].get(endpoint))
        for seed in first
        if seed in second and first[seed]["status"] == second[seed]["status"] == "finished"
    ]
    known = [(x, y) for x, y in values if x is not None and y is not None]
    return [x for x, _ in known], [y for _, y in known]


def judge(claim: Claim, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Judge a claim by the results of a study.

    Parameters
    ----------
    claim : Claim
        What is claimed.
    settings : mapping
        ``settings`` of a results file.

    Returns
    -------
    dict
        The claim, ``verdict`` (``not run`` when fewer than two seeds have both arms) and the paired numbers;
        ``missing`` counts seeds in which an arm failed.
    """
    arms = settings.get(claim.setting, {}).get("arms", {})
    first, second = (arms.get(name, {}).get("seeds", {}) for name in (claim.a, claim.b))
    a, b = known_pairs(first, second, claim.endpoint)
    entry: dict[str, Any] = {**asdict(claim), "missing": max(len(first), len(second)) - len(a)}
    if len(a) < 2:
        return {**entry, "verdict": "not run"}
    found = paired(a, b)
    return {**entry, "verdict": verdict(claim, found), **asdict(found)}
