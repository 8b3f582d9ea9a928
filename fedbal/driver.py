"""Drives a run over any grid: opens the run directory, runs the rounds, writes the summary."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp import Grid
from safetensors.numpy import save

from fedbal import checkpoint, fingerprints
from fedbal.assembly import Assembly
from fedbal.checkpoint import Snapshot
from fedbal.clients_table import client_table
from fedbal.data.heterogeneity import describe
from fedbal.errors import RunError
from fedbal.evaluation import GlobalTest
from fedbal.garbage import spared
from fedbal.grid.base import VirtualGrid
from fedbal.grid.riding import RidingGrid
from fedbal.interrupts import Interrupted, Signals, StopRequested
from fedbal.journal import AfterRound, Journal, Totals
from fedbal.loop import RoundLoop
from fedbal.observer import Observer
from fedbal.preprocess import Fitted, fit
from fedbal.protocol import AUXILIARY, Arrays
from fedbal.recording import Recorder, recorder_of
from fedbal.results import (
    CLIENTS_TABLE,
    FINGERPRINTS,
    HETEROGENEITY,
    MODEL,
    PREPROCESS,
    ROUNDS,
    SCENARIO,
    SUMMARY,
    RunDirectory,
    disk_errors,
    read_rows,
    to_json,
    write_atomically,
)
from fedbal.scenario import Scenario
from fedbal.seeding import stream
from fedbal.summary import both_views, last_tenth
from fedbal.task import Task
from fedbal.track.base import tracked

LISTED_CLIENTS = 10_000
"""With more clients, ``heterogeneity.json`` lists a sample of this many; its numbers over all stay exact."""


def drive(
    scenario: Scenario,
    assembly: Assembly,
    grid: Grid,
    directory: RunDirectory,
    signals: Signals,
    observer: Observer,
    *,
    resuming: bool = False,
    after_round: AfterRound | None = None,
) -> dict[str, Any]:
    """Run a scenario's rounds and return the summary.

    Parameters
    ----------
    scenario : Scenario
        The scenario, for the record.
    assembly : Assembly
        Its parts.
    grid : Grid
        Where messages go.
    directory : RunDirectory
        Where everything is written.
    signals : Signals
        Active signal handlers.
    observer : Observer
        Is told of every round.
    resuming : bool
        Go on from the newest checkpoint instead of the start.
    after_round : callable, optional
        Is given every round and its global model.

    Raises
    ------
    Interrupted
        On Ctrl-C or SIGTERM, after a checkpoint.
    """
    with tracked(scenario, observer) as watching, spared():
        return _drive(scenario, assembly, grid, directory, signals, watching, resuming, after_round)


def _drive(
    scenario: Scenario,
    assembly: Assembly,
    grid: Grid,
    directory: RunDirectory,
    signals: Signals,
    observer: Observer,
    resuming: bool,
    after_round: AfterRound | None,
) -> dict[str, Any]:
    recorder = recorder_of(scenario, assembly, directory.path)
    if recorder is not None and not resuming:
        recorder.require_space()
    start = _open(directory, scenario, assembly, resuming)
    if recorder is not None:
        recorder.cut(start.round)
    headline = assembly.test.measures.headline
    journal = Journal(directory, observer, Totals(**start.progress), headline, after_round)
    observer.started(scenario, directory.path, start.round + 1)
    try:
        if not start.round:
            journal.note([*assembly.notes, *([] if recorder is None else [recorder.announcement()])])
        fitted = _fit(directory, assembly, grid, journal, start.round)
        loop = _loop(scenario, assembly, grid, journal, signals, fitted, recorder)
        end = loop.run(start)
    except StopRequested as stop:
        journal.save()
        done = journal.latest.round if journal.latest else start.round
        raise Interrupted(
            f"{stop} after round {done} of {scenario.rounds}; go on with: fedbal run --resume {directory.path}",
            stop.number,
        ) from None
    with signals.shield():
        journal.save()
        summary = _finish(directory, scenario, assembly, end, journal.totals, fitted)
    observer.finished(summary)
    return summary


def _fit(
    directory: RunDirectory, assembly: Assembly, grid: Grid, journal: Journal, done: int
) -> Fitted | None:
    """Return what the clients' statistics came to: asked for once, then as the run directory keeps it."""
    plan, population = assembly.clients.preprocess, assembly.population
    if plan is None:
        return None
    path = directory.path / PREPROCESS
    if not path.exists():
        features = assembly.federation.dataset.input_shape[0]
        fitted = fit(grid, plan, population, features, assembly.schedule.timeout)
        directory.write(PREPROCESS, fitted.to_json())
    fitted = read_fitted(path)
    if not done:
        journal.totals.bytes_up += fitted.bytes_up
        journal.totals.bytes_down += fitted.bytes_down
        journal.note(fitted.notes)
    return fitted


def read_fitted(path: Path) -> Fitted:
    """Read a ``preprocess.json``."""
    try:
        return Fitted.from_json(path.read_text())
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def _loop(
    scenario: Scenario,
    assembly: Assembly,
    grid: Grid,
    journal: Journal,
    signals: Signals,
    fitted: Fitted | None,
    recorder: Recorder | None,
) -> RoundLoop:
    test = prepared_test(assembly, fitted)
    if isinstance(grid, VirtualGrid) and grid.scores_models and _device_is_elsewhere(assembly):
        test = replace(test, scorer=partial(grid.score, transform=test.split.transform))
    tested: Callable[[Arrays], dict[str, Any] | None] = test
    if isinstance(grid, RidingGrid) and not len(test.split):
        # Devices keep their rows, and this machine may have none of its own to test on.
        tested = _untested
    return RoundLoop(
        grid=grid,
        strategy=assembly.strategy,
        sampler=assembly.sampler,
        population=assembly.population,
        systems=assembly.systems,
        schedule=assembly.schedule,
        test=tested,
        measures=test.measures,
        journal=journal,
        signals=signals,
        preprocess=None if fitted is None else fitted.record(),
        asks_counts=assembly.asks_counts,
        probe=assembly.probe() if scenario.evaluation.dissimilarity else None,
        recorder=recorder,
    )


def prepared_test(assembly: Assembly, fitted: Fitted | None) -> GlobalTest:
    """Return the global test, its rows imputed and scaled if those of the clients are."""
    test = assembly.test
    if fitted is None:
        return test
    transform = fitted.of_test(assembly.federation.test_owner)
    return replace(test, split=replace(test.split, transform=transform))


def _untested(arrays: Arrays) -> None:
    """Return nothing: there are no test rows."""


def _device_is_elsewhere(assembly: Assembly) -> bool:
    """Tell whether clients train on a device that this process does not have."""
    return not assembly.clients.device.startswith(assembly.test.split.pool.device.type)


def _open(directory: RunDirectory, scenario: Scenario, assembly: Assembly, resuming: bool) -> Snapshot:
    """Prepare the directory and return the state to start from."""
    found = checkpoint.load(directory.path) if resuming else None
    if found is not None:
        directory.cut(found.offsets)
        return found
    # The scenario comes first: a directory with a scenario is a run that can be resumed, from its start if need be.
    directory.write(SCENARIO, scenario.to_yaml())
    directory.cut({})
    plan = json.dumps(assembly.plan_fingerprint)
    progress = vars(Totals(cohorts=fingerprints.chain("", 0, []), batches=fingerprints.chain(plan, 0, [])))
    counts = assembly.federation.label_counts()
    directory.write(CLIENTS_TABLE, client_table(assembly.federation, counts, assembly.systems.speeds))
    directory.write(HETEROGENEITY, _json(_heterogeneity(assembly, counts, scenario.seed.partition)))
    del counts
    directory.write(FINGERPRINTS, _json(_fingerprints(assembly)))
    return Snapshot(0, assembly.initial, strategy=assembly.initial_strategy_state, progress=progress)


def _finish(
    directory: RunDirectory,
    scenario: Scenario,
    assembly: Assembly,
    end: Snapshot,
    totals: Totals,
    fitted: Fitted | None,
) -> dict[str, Any]:
    whole = assembly.whole(end.arrays)
    arrays = {name: np.asarray(value, order="C") for name, value in whole.items()}
    with disk_errors(directory.path):
        write_atomically(directory.path / MODEL, save(arrays))
    directory.write(
        FINGERPRINTS,
        _json(
            {
                **_fingerprints(assembly, fitted, totals.reduced),
                "cohorts": totals.cohorts,
                "batches": totals.batches,
            }
        ),
    )
    rows = list(read_rows(directory.path / ROUNDS))
    seeds = scenario.seed
    same = seeds.partition == seeds.init == seeds.training
    summary = {
        "scenario": scenario.name,
        "strategy": scenario.strategy.name,
        "client": scenario.client.update.name,
        "seed": seeds.partition if same else dict(seeds),
        "rounds": end.round,
        "final": totals.last_test,
        "last_10_percent": last_tenth(rows, scenario.rounds),
        "best": totals.best,
        "fairness": both_views(rows[-1]) if rows else None,
        "seconds": {"total": totals.seconds, "simulated": totals.simulated_seconds},
        "bytes": {"up": totals.bytes_up, "down": totals.bytes_down},
        "notes": totals.notes,
        "status": "diverged" if totals.diverged else "finished",
    }
    # The summary comes last: where there is one, the run is complete.
    directory.write(SUMMARY, _json(summary))
    return json.loads(to_json(summary))  # type: ignore[no-any-return]


def _fingerprints(
    assembly: Assembly, fitted: Fitted | None = None, reduced: int | None = None
) -> dict[str, Any]:
    preparation = None if fitted is None else fitted.preparation
    engine = assembly.engine if reduced is None else {**assembly.engine, "reduced": reduced}
    return {
        "partition": assembly.federation.fingerprint(),
        "initial": fingerprints.of_arrays(assembly.complete),
        **_initial_model(assembly.complete),
        "cohorts": None,
        "batches": None,
        "task": Task.of(assembly.federation.dataset, assembly.test.groups, preparation).to_dict(),
        "engine": engine,
        "code": fingerprints.of_code(assembly.user_files),
        "packages": fingerprints.of_packages(),
        "hardware": fingerprints.of_hardware(assembly.clients.device),
    }


def _initial_model(complete: Arrays) -> dict[str, str]:
    """Return the hash of the model without the tensors that a client update brings, where it brings any."""
    model = {name: value for name, value in complete.items() if not name.startswith(f"{AUXILIARY}.")}
    return {} if len(model) == len(complete) else {"initial_model": fingerprints.of_arrays(model)}


def require_same(before: dict[str, Any], assembly: Assembly, what: str = "resume") -> None:
    """Refuse to go on with other data or another initial model than the run began with."""
    now = {
        "partition": assembly.federation.fingerprint(),
        "initial": fingerprints.of_arrays(assembly.complete),
    }
    for key, value in now.items():
        if before.get(key) != value:
            raise RunError(
                f"cannot {what}: the {key} fingerprint is {value[:12]}, the run began with "
                f"{str(before.get(key))[:12]}; its data or its code have changed since."
            )


def _heterogeneity(
    assembly: Assembly, counts: np.ndarray[Any, np.dtype[np.int64]], seed: int
) -> dict[str, Any]:
    federation = assembly.federation
    described, everyone = describe(federation, counts), federation.num_clients
    classes = {"classes": list(federation.counted_classes)}
    if everyone <= LISTED_CLIENTS:
        return {"clients": list(federation.names), **classes, **described.to_dict()}
    draw = stream(seed, "heterogeneity-listed")
    members = np.sort(draw.choice(everyone, LISTED_CLIENTS, replace=False, shuffle=False))
    listed = {"clients": [federation.names[client] for client in members.tolist()]}
    sampled = {"listed": LISTED_CLIENTS, "of": everyone}
    return {**listed, **classes, "sampled": sampled, **described.of(members).to_dict()}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Flower's own log for the time of a run."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _json(value: Any) -> str:
    return json.dumps(json.loads(to_json(value)), indent=2) + "\n"
