"""What the trials of one method found: their scores, the choice, its warnings and what they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedbal.comparison.chance import chance_level
from fedbal.comparison.tuning.choice import best_of, choose
from fedbal.comparison.tuning.records import Setting, Spent, Trial, Tuned
from fedbal.comparison.tuning.score import LOWER
from fedbal.comparison.tuning.space import Knob, distance, search_space
from fedbal.comparison.tuning.trials import Planned
from fedbal.errors import RunError, UsageError
from fedbal.measures.names import SEGMENTATION
from fedbal.results import FINGERPRINTS, RunReader
from fedbal.scenario import Scenario
from fedbal.simulation import RunResult
from fedbal.sweep import FailedRun


def tuned_method(
    scenario: Scenario,
    planned: Sequence[Planned],
    ended: Mapping[Path, RunResult | FailedRun],
    measured: Mapping[Path, Mapping[str, Any]],
    folder: Path,
    *,
    metric: str,
    own: bool,
) -> Tuned:
    """Return what the trials of one method found.

    Parameters
    ----------
    scenario : Scenario
        The method as declared.
    planned : sequence of Planned
        Its trials, by number.
    ended : mapping
        What became of every run, by directory.
    measured : mapping
        Validation scores of the runs that finished, by directory.
    folder : Path
        Directory of the tuning.
    metric : str
        Score that decides.
    own : bool
        Whether the clients' own models are scored instead of the global one.
    """
    knobs, label, higher = search_space(scenario), planned[0].label, metric not in LOWER
    found = []
    for one in planned:
        result = ended[one.directory]
        numbers = measured.get(one.directory)
        score = None if numbers is None else _score(numbers, label, metric, own=own)
        failed = isinstance(result, FailedRun)
        found.append(
            Trial(
                number=one.number,
                values=dict(one.values),
                overrides=one.overrides,
                status="failed" if failed else "diverged" if score is None else "finished",
                score=score,
                distance=distance(one.values, knobs),
                directory=str(one.directory.relative_to(folder)),
                reason=result.reason if isinstance(result, FailedRun) else None,
            )
        )
    masks = scenario.data.task == SEGMENTATION[0]
    guess = _guess(found, metric, [one.directory for one in planned], masks=masks)
    trials = tuple(trial if trial.score is not None else trial.scored(guess) for trial in found)
    chosen = choose(trials, higher=higher)
    settings = tuple(_setting(knob, trials[chosen]) for knob in knobs)
    return Tuned(
        label=label,
        overrides=trials[chosen].overrides,
        chosen=chosen,
        settings=settings,
        trials=trials,
        best_of=best_of([trial.score for trial in trials], higher=higher),
        spent=_spent([one.directory for one in planned]),
        warnings=(*_failures(label, trials), *_edges(label, settings)),
    )


def _score(numbers: Mapping[str, Any], label: str, metric: str, *, own: bool) -> float | None:
    scores: Mapping[str, float | None] | None = numbers["personal" if own else "received"]
    if scores is None:
        raise UsageError(
            f"{label}: its clients keep no models of their own to be tuned by; score the global model."
        )
    return scores[metric]


def _guess(trials: Sequence[Trial], metric: str, directories: Sequence[Path], *, masks: bool) -> float | None:
    """Return what a trial without a score counts as: guessing, and never more than a trial that has one."""
    scores = [trial.score for trial in trials if trial.score is not None]
    classes = next((count for count in map(_classes, directories) if count), 0)
    chance = chance_level(metric, classes, masks=masks) if classes else None
    known = [*scores, *([] if chance is None else [chance])]
    worst = max if metric in LOWER else min
    return worst(known) if known else None


def _classes(directory: Path) -> int:
    if not (directory / FINGERPRINTS).is_file():
        return 0
    return len((RunReader(directory).fingerprints.get("task") or {}).get("classes", ()))


def _setting(knob: Knob, trial: Trial) -> Setting:
    value = trial.values[knob.key]
    return Setting(knob.key, str(knob.space), knob.default, value, knob.edge(value))


def _failures(label: str, trials: Sequence[Trial]) -> list[str]:
    warnings = []
    failed = [trial for trial in trials if trial.status == "failed"]
    diverged = sum(trial.status == "diverged" for trial in trials)
    if failed:
        warnings.append(
            f"{label}: {len(failed)} of {len(trials)} trials failed; the first: {failed[0].reason}"
        )
    if diverged:
        warnings.append(f"{label}: {diverged} of {len(trials)} trials diverged.")
    if len(failed) + diverged == len(trials):
        warnings.append(f"{label}: no trial has a score, so it stays as declared.")
    return warnings


def _edges(label: str, settings: Sequence[Setting]) -> list[str]:
    return [
        f"{label}: {one.key} = {one.value} lies at the {one.edge} edge of its grid ({one.space}); a better value "
        "may lie beyond. A value beyond it in the method itself widens the grid."
        for one in settings
        if one.edge is not None
    ]


def _spent(directories: Sequence[Path]) -> Spent:
    rounds, seconds, sent = 0, 0.0, 0
    for directory in directories:
        try:
            reader = RunReader(directory)
        except UsageError:
            continue  # It failed before it began.
        try:
            for row in reader.rounds():
                rounds += 1
                seconds += row["client_seconds"]
                sent += row["bytes_up"] + row["bytes_down"]
        except RunError:
            continue  # A damaged trial is told as failed.
    return Spent(len(directories), rounds, seconds, sent)
