"""Tuning itself: plan the trials, run them, score them, choose."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedbal.comparison.execute import execute
from fedbal.comparison.plan import Cell
from fedbal.comparison.store import Store
from fedbal.comparison.tuning.method import tuned_method
from fedbal.comparison.tuning.proposals import SAMPLER
from fedbal.comparison.tuning.records import Tuned, Tuning
from fedbal.comparison.tuning.score import LOWER, METRICS, validation_numbers
from fedbal.comparison.tuning.trials import CARVED, Planned, plan_trials
from fedbal.comparison.tuning.unseen import Unseen
from fedbal.comparison.watch import Watch
from fedbal.errors import UsageError
from fedbal.results import SUMMARY, RunReader, disk_errors, to_json, write_atomically
from fedbal.scenario import Scenario
from fedbal.simulation import RunResult
from fedbal.sweep import FailedRun
from fedbal.sweep_worker import Federations

TUNING = "tuning.json"
FEW = 200
"""With fewer validation rows a tuning says how much of its order is luck."""


def tune(
    scenarios: Mapping[str, Scenario],
    *,
    trials: int,
    out: str | Path,
    metric: str = "auto",
    personal: Collection[str] = (),
    seed: int = 0,
    rounds_factor: float = 1.0,
    workers: int | None = None,
    cluster: str | None = None,
    watch: Watch | None = None,
    resume: str = "the same call",
) -> Tuning:
    """Give each method the same number of trials and choose its best one by validation rows.

    The first trial of a method is the method as declared. Called again with the same arguments it goes on with what
    was stopped; with more trials, it adds some to those that are there.

    Parameters
    ----------
    scenarios : mapping of str to Scenario
        Each method's scenario by its label; the same data and partition for all.
    trials : int
        Trials of each method, >= 1; a method that declares no knobs has one.
    out : str or Path
        Directory of trials and result.
    metric : str
        Score on validation rows: ``balanced_accuracy``, ``accuracy``, ``macro_f1`` or ``loss``, of masks ``dice``,
        ``iou`` or ``loss``; auto, and with a note every other name: the first one of the task.
    personal : collection of str
        Labels of methods that are scored by the clients' own models.
    seed : int
        Seed of the search, >= 0.
    rounds_factor : float
        Rounds of a trial over those of the scenario, in (0, 1]; the same for all methods.
    workers : int, optional
        Processes, >= 1; default: one a CPU.
    cluster : str, optional
        Address of a Ray cluster that runs the trials, or auto; None: processes on this machine.
    watch : Watch, optional
        Shows progress.
    resume : str
        What goes on after Ctrl-C, for the message.

    Returns
    -------
    Tuning
        As written to ``out/tuning.json``.

    Raises
    ------
    UsageError
        An argument is out of range, a scenario is refused, or there are no validation rows.
    Interrupted
        On Ctrl-C or SIGTERM; the same call goes on.
    """
    folder = Path(out)
    if not scenarios:
        raise UsageError("there is nothing to tune; give at least one method.")
    first = next(iter(scenarios.values()))
    planned = plan_trials(scenarios, trials=trials, out=folder, seed=seed, rounds_factor=rounds_factor)
    name, notes = _metric(metric, first)
    unseen = None if watch is None else Unseen(watch)
    ended = _run(planned, folder, workers=workers, cluster=cluster, watch=unseen, resume=resume)
    federations = Federations()
    measured: dict[Path, dict[str, Any]] = {}
    for path, result in ended.items():
        if isinstance(result, RunResult) and result.status == "finished":
            measured[path] = validation_numbers(path, federations)
    samples = max((numbers["samples"] for numbers in measured.values()), default=0)
    methods = {
        label: tuned_method(
            scenario,
            [one for one in planned if one.label == label],
            ended,
            measured,
            folder,
            metric=name,
            own=label in personal,
        )
        for label, scenario in scenarios.items()
    }
    found = Tuning(
        metric=name,
        higher=name not in LOWER,
        trials=trials,
        rounds=planned[0].scenario.rounds,
        sampler=SAMPLER,
        training_seed=planned[0].scenario.seed.training,
        partition_seed=first.seed.partition,
        samples=samples,
        methods=methods,
        notes=(*notes, *_notes(first, methods, rounds_factor, trials, samples)),
    )
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(json.loads(to_json(found.to_dict())), indent=2) + "\n"
        write_atomically(folder / TUNING, text.encode())
    return found


def _metric(wanted: str, scenario: Scenario) -> tuple[str, list[str]]:
    """Return the score that a name means, and what to say if it means another one."""
    known = METRICS[scenario.data.task]
    name = {"auto": known[0], "nll": "loss"}.get(wanted, wanted)
    if name in known:
        return name, []
    return known[0], [
        f"{wanted} is not measured on the clients' validation rows; methods were tuned by "
        f"{known[0].replace('_', ' ')}."
    ]


def _run(planned: Sequence[Planned], folder: Path, **options: Any) -> dict[Path, RunResult | FailedRun]:
    """Run every trial once, as the runs of a comparison, and return what became of it, by directory."""
    store = Store(folder)
    execute([_cell(one) for one in planned], store, **options)
    reasons = store.failures()
    return {one.directory: _end(one.directory, reasons) for one in planned}


def _cell(one: Planned) -> Cell:
    seed = one.scenario.seed.training
    return Cell(f"trial {one.number}", one.label, seed, one.scenario, one.directory.name, one.directory)


def _end(directory: Path, reasons: Mapping[str, str]) -> RunResult | FailedRun:
    summary = RunReader(directory).summary() if (directory / SUMMARY).is_file() else None
    if summary is None:
        return FailedRun(directory, reasons.get(directory.name, "it came to no end"))
    return RunResult(directory, summary)


def _notes(
    scenario: Scenario, methods: Mapping[str, Tuned], rounds_factor: float, trials: int, samples: int
) -> list[str]:
    notes = []
    if 0 < samples < FEW:
        notes.append(
            f"all clients together have {samples} validation rows, so that trials a few points apart are ordered "
            "by luck; raise data.validation."
        )
    if not scenario.data.validation:
        notes.append(
            f"data.validation is 0: trials hold back up to {CARVED:.0%} of each client's rows for scoring, the "
            "runs of the comparison do not."
        )
    if rounds_factor < 1.0:
        notes.append(f"trials ran {rounds_factor:g} of the comparison's rounds.")
    without = [label for label, tuned in methods.items() if not tuned.settings]
    if without and trials > 1:
        notes.append(f"nothing to tune: {', '.join(without)} declare no knobs.")
    return notes
