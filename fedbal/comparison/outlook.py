"""What can be said before anything runs: how many runs, how long they take, and what so many seeds can show."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedbal.comparison.block import write_seeds
from fedbal.comparison.compared import Compared
from fedbal.comparison.execute import processes
from fedbal.comparison.outcomes import read, values_of
from fedbal.comparison.plan import Cell, Plan
from fedbal.comparison.statistics import power
from fedbal.comparison.statistics.spending import levels
from fedbal.comparison.store import is_done, seconds_of
from fedbal.errors import FedbalError
from fedbal.terminal import duration

ENOUGH_PAIRS = 3
"""Pairs from which the spread of the differences is taken."""
START_SECONDS = 3.0
"""What the processes take to start."""


@dataclass(frozen=True)
class Outlook:
    """A plan in numbers.

    Attributes
    ----------
    runs, done : int
        Distinct runs of the plan, and how many of them are there already.
    seconds : float or None
        Rough wall time of the others; None if nothing is known.
    spread : float or None
        Largest standard deviation of paired differences that earlier runs show; None: not known.
    detectable : float or None
        Smallest true difference that is shown with 80 % power: in the primary outcome's unit if a spread is known,
        else in standard deviations of the paired differences; None: no test can reach significance.
    smallest_p : float
        Smallest adjusted p value that so many seeds can reach.
    enough_seeds : int
        Fewest seeds that can reach significance.
    level : float
        What this look may spend of alpha, after the looks before it.
    """

    runs: int
    done: int
    seconds: float | None
    spread: float | None
    detectable: float | None
    smallest_p: float
    enough_seeds: int
    level: float


def outlook(plan: Plan, cells: Sequence[Cell], *, before: Compared | None = None) -> Outlook:
    """Return what can be said before a plan runs.

    Parameters
    ----------
    plan : Plan
        The plan.
    cells : sequence of Cell
        Those of it that will run here.
    before : Compared, optional
        The last verdict of the same comparison.

    Raises
    ------
    UsageError
        SciPy is not installed.
    """
    distinct = list({cell.address: cell for cell in cells}.values())
    waiting = [cell for cell in distinct if not is_done(cell)]
    protocol = plan.protocol
    family = max(1, len(plan.declaration.rivals) - 1)
    seeds = len(protocol.seeds)
    spread = _spread(plan)
    level = protocol.alpha
    if before is not None and before.protocol.looks:
        planned, looks = before.protocol.planned_seeds, before.protocol.looks
        level = levels(seeds, planned, protocol.alpha, looks, family).difference
    runtime = plan.declaration.base.scenario.runtime
    workers = processes(runtime, plan.declaration.workers)
    return Outlook(
        runs=len(distinct),
        done=len(distinct) - len(waiting),
        seconds=_seconds(plan, distinct, waiting, workers),
        spread=spread,
        detectable=power.smallest_detectable(seeds, 1.0 if spread is None else spread, level, family=family)
        if level > 0
        else None,
        smallest_p=power.smallest_p(seeds, family),
        enough_seeds=power.least_seeds(level, family),
        level=level,
    )


def lines(plan: Plan, seen: Outlook, *, shard: str = "") -> list[str]:
    """Return the plan as lines of a name and what is to be said of it."""
    protocol, declared = plan.protocol, plan.declaration
    rivals = ", ".join(
        f"{method.label} (baseline)" if method.label == protocol.baseline else method.label
        for method in declared.rivals
    )
    references = ", ".join(method.label for method in protocol.methods if method.reference)
    there = f", {seen.done} of them there already" if seen.done else ""
    tuned = f", after {declared.tune} trials of each rule on validation rows" if declared.tune else ""
    scale, unit = (100.0, " points") if protocol.primary.percent else (1.0, "")
    rows = [
        ("rules", rivals),
        ("reference rows", references or "none"),
        ("data sets", "; ".join(protocol.datasets) if protocol.datasets != ("",) else "the scenario's own"),
        ("seeds", f"{write_seeds(protocol.seeds)} ({_axes(protocol.seed_axes)})"),
        ("runs", f"{seen.runs}{f' of shard {shard}' if shard else ''}{there}{tuned}"),
        (
            "primary",
            f"{protocol.primary.label} ({protocol.primary.name}), mean over the last "
            f"{protocol.primary.share:.0%} of the rounds; margin {protocol.margin * scale:g}{unit}",
        ),
        ("time", _time(seen)),
        ("can show", _detectable(seen, scale, unit)),
        ("smallest p", f"{seen.smallest_p:.3g} after Holm over {_count(len(declared.rivals) - 1, 'rule')}"),
    ]
    if protocol.budget is not None:
        rows.insert(
            6, ("budget", f"{protocol.budget[1]:g} {protocol.budget[0].replace('_', ' ')} of every run")
        )
    if declared.seconds is not None:
        rows.insert(6, ("time limit", duration(declared.seconds)))
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}" for name, text in rows]


def warnings(plan: Plan, seen: Outlook) -> list[str]:
    """Return what a user should know before so many seeds are run, each a sentence."""
    protocol = plan.protocol
    found = list(plan.engines.notes)
    if seen.level <= 0:
        found.append(
            "Earlier looks have spent all of alpha, so no difference can be shown any more; name in planned_seeds "
            "how many seeds there may be in the end, before the first look."
        )
    elif seen.smallest_p > seen.level:
        found.append(
            f"{_count(len(protocol.seeds), 'seed')} cannot reach significance: the sign-flip test goes no lower "
            f"than {seen.smallest_p:.3g}, above {seen.level:.3g}; {seen.enough_seeds} seeds can."
        )
    by_address: dict[str, list[str]] = {}
    for cell in plan.cells:
        by_address.setdefault(cell.address, []).append(cell.method)
    for labels in dict.fromkeys(
        tuple(dict.fromkeys(one)) for one in by_address.values() if len(set(one)) > 1
    ):
        found.append(f"{' and '.join(labels)} are the same runs: nothing that changes a byte differs.")
    budget, rounds = protocol.budget, plan.declaration.base.scenario.rounds
    if budget is not None and budget[0] == "rounds" and budget[1] < rounds:
        found.append(
            f"The budget is {budget[1]:g} of {rounds} rounds; --set rounds={budget[1]:g} would run no more than "
            "that."
        )
    return found


def _seconds(plan: Plan, distinct: Sequence[Cell], waiting: Sequence[Cell], workers: int) -> float | None:
    """Return a rough wall time of what is left: by earlier runs of a method, else by fedbal's estimate."""
    if not waiting:
        return 0.0
    measured: dict[tuple[str, str], list[float]] = {}
    for cell in distinct:
        spent = seconds_of(cell) if is_done(cell) else None
        if spent is not None:
            measured.setdefault((cell.dataset, cell.method), []).append(spent)
    total = 0.0
    for cell in waiting:
        found = measured.get((cell.dataset, cell.method))
        guess = plan.engines.seconds.get(cell.dataset, {}).get(cell.method)
        if not found and guess is None:
            continue
        total += statistics.fmean(found) if found else guess or 0.0
    return total / min(workers, len(waiting)) + START_SECONDS if total else None


def _spread(plan: Plan) -> float | None:
    """Return the largest standard deviation of paired differences that runs of the plan show already."""
    done = [cell for cell in plan.cells if is_done(cell)]
    if not done:
        return None
    protocol = plan.protocol
    try:
        found = values_of(read(protocol, done), protocol.primary.name)
    except FedbalError:
        return None
    spreads = []
    for methods in found.values():
        base = methods.get(protocol.baseline, {})
        for method in plan.declaration.rivals:
            own = methods.get(method.label, {})
            differences = [own[seed] - base[seed] for seed in own if seed in base]
            if method.label != protocol.baseline and len(differences) >= ENOUGH_PAIRS:
                spreads.append(statistics.stdev(differences))
    largest = max(spreads, default=0.0)
    return largest if largest > 0 else None


def _time(seen: Outlook) -> str:
    if seen.runs == seen.done:
        return "none: every run is there"
    if seen.seconds is None:
        return "not known"
    return f"about {duration(max(1.0, round(seen.seconds)))}"


def _detectable(seen: Outlook, scale: float, unit: str) -> str:
    if seen.detectable is None:
        return "no difference at all by a sign-flip test (80 % power is out of reach)"
    if seen.spread is None:
        return f"with 80 % power differences of {seen.detectable:.2g} standard deviations of the paired differences"
    return (
        f"with 80 % power differences of {seen.detectable * scale:.2g}{unit}, by the spread of earlier runs"
    )


def _axes(axes: Sequence[str]) -> str:
    words: Mapping[str, str] = {"partition": "partition", "init": "initial model", "training": "training"}
    *first, last = (words[axis] for axis in axes)
    return f"each its own {', '.join(first)}{' and ' if first else ''}{last}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
