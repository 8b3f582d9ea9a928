"""The trials of a tuning as scenarios, each with the directory that its content decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbal.comparison.address import address
from fedbal.comparison.tuning.proposals import propose
from fedbal.comparison.tuning.space import overrides_of, search_space
from fedbal.errors import UsageError
from fedbal.scenario import Scenario, from_mapping

RUNS = "trials"
FIRST_SEED = 10_000
"""Added to the seeds of initial model and training: no seed of a comparison is used to choose anything."""
CARVED = 0.1
"""Share of each client's rows that trials hold back where the scenario holds none."""


@dataclass(frozen=True)
class Planned:
    """A trial before it is run.

    Attributes
    ----------
    label : str
        The method.
    number : int
        From 0, the method as declared.
    values : mapping
        Value of each knob by dotted key.
    overrides : tuple of str
        What the values change in the method.
    scenario : Scenario
        What is run.
    directory : Path
        Where, by content: two trials that are the same run share it.
    """

    label: str
    number: int
    values: Mapping[str, Any]
    overrides: tuple[str, ...]
    scenario: Scenario
    directory: Path


def plan_trials(
    scenarios: Mapping[str, Scenario],
    *,
    trials: int,
    out: Path,
    seed: int = 0,
    rounds_factor: float = 1.0,
) -> tuple[Planned, ...]:
    """Return every trial, the first of all methods before the second of any.

    Parameters
    ----------
    scenarios : mapping of str to Scenario
        Each method's scenario by its label; they share data and partition.
    trials : int
        Trials of each method, >= 1; a method without knobs has one.
    out : Path
        Directory of the tuning.
    seed : int
        Seed of the search, >= 0.
    rounds_factor : float
        Rounds of a trial over those of the scenario, in (0, 1].

    Raises
    ------
    UsageError
        A number is out of range, or a trial's scenario is refused.
    """
    if trials < 1:
        raise UsageError(f"tune is {trials}; give 1 or more trials, or leave it out.")
    if not 0.0 < rounds_factor <= 1.0:
        raise UsageError(f"rounds_factor is {rounds_factor:g}; give a share in (0, 1].")
    each = [
        _of_method(label, scenario, trials, out, seed, rounds_factor) for label, scenario in scenarios.items()
    ]
    everything = [planned for own in each for planned in own]
    return tuple(sorted(everything, key=lambda planned: planned.number))


def _of_method(
    label: str, scenario: Scenario, trials: int, out: Path, seed: int, rounds_factor: float
) -> list[Planned]:
    knobs = search_space(scenario)
    planned = []
    for number, values in enumerate(propose(knobs, trials, seed, label)):
        overrides = overrides_of(scenario, values, knobs)
        trial = _trial(scenario, overrides, rounds_factor)
        planned.append(Planned(label, number, values, overrides, trial, out / RUNS / address(trial)))
    return planned


def _trial(scenario: Scenario, overrides: Sequence[str], rounds_factor: float) -> Scenario:
    """Return the run of a trial: other training seeds, and nobody's test rows but those of the end."""
    content = scenario.resolved()
    content.pop("track", None)
    content["runtime"].pop("record_updates", None)
    rounds = max(1, round(scenario.rounds * rounds_factor))
    changes = [
        *overrides,
        f"seed.init={FIRST_SEED + scenario.seed.init}",
        f"seed.training={FIRST_SEED + scenario.seed.training}",
        f"rounds={rounds}",
        f"evaluation.every={rounds}",
        "evaluation.clients=0",
        "evaluation.dissimilarity=false",
    ]
    if not scenario.data.validation:
        changes.append(f"data.validation={min(CARVED, (1.0 - scenario.data.client_test) / 2.0):g}")
    return from_mapping(content, overrides=changes)
