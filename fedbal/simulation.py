"""From a scenario to a run directory: build the parts, run the rounds, write the summary."""

from __future__ import annotations

import csv
import io
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from fedbal import checkpoint, fingerprints
from fedbal.assembly import Assembly, assemble
from fedbal.backend import choose_backend, choose_device, make_grid
from fedbal.checkpoint import Snapshot
from fedbal.errors import FedbalError, RunError, UsageError
from fedbal.interrupts import Interrupted, Signals
from fedbal.journal import Journal, Totals
from fedbal.loop import RoundLoop
from fedbal.observer import Observer, Silent
from fedbal.results import (
    CLIENTS_TABLE,
    FINGERPRINTS,
    MODEL,
    SCENARIO,
    SUMMARY,
    RunDirectory,
    RunReader,
    disk_errors,
    to_json,
    write_atomically,
)
from fedbal.scenario import Scenario, load

RUNS = Path("runs")


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes
    ----------
    directory : Path
        The run directory.
    summary : dict
        Content of ``summary.json``.
    """

    directory: Path
    summary: dict[str, Any]

    @property
    def status(self) -> str:
        """``finished`` or ``diverged``."""
        return str(self.summary["status"])


def run(scenario: Scenario, out: Path | None = None, *, observer: Observer | None = None) -> RunResult:
    """Simulate a scenario.

    Parameters
    ----------
    scenario : Scenario
        What to run.
    out : Path, optional
        A new or empty directory; default ``runs/<name>-<time>``.
    observer : Observer, optional
        Is told of every round.

    Raises
    ------
    UsageError
        The scenario cannot be run as it stands: data missing, cohort too large, resources short.
    RunError
        Something failed on the way.
    Interrupted
        On Ctrl-C or SIGTERM, after a checkpoint.
    """
    return _execute(scenario, out, None, observer or Silent())


def resume(directory: Path, *, observer: Observer | None = None) -> RunResult:
    """Go on with a run that was stopped or killed; its bytes are those of an undisturbed run.

    Parameters
    ----------
    directory : Path
        Its run directory.
    observer : Observer, optional
        Is told of every round.
    """
    reader = RunReader(directory)
    summary = reader.summary()
    if summary is not None:
        (observer or Silent()).note(f"{directory} is complete; there is nothing to resume.")
        return RunResult(directory, summary)
    return _execute(load(directory / SCENARIO), directory, reader.fingerprints, observer or Silent())


def _execute(
    scenario: Scenario, out: Path | None, before: dict[str, Any] | None, observer: Observer
) -> RunResult:
    resuming = before is not None
    assembly = assemble(scenario, choose_device(scenario.runtime))
    if before:
        _require_same(before, assembly)
    backend = choose_backend(scenario.runtime, assembly.load)
    with Signals() as signals, _quiet(scenario.runtime.threads):
        path = out or _default_directory(scenario.name)
        if not resuming:
            RunDirectory(path).close()
        grid = make_grid(
            backend,
            scenario.runtime,
            assembly.clients,
            assembly.directory,
            assembly.population.nodes,
            assembly.systems.work.tolist(),
            assembly.cohort,
        )
        with grid:
            directory = RunDirectory(path, resume=resuming)
            try:
                start = _open(directory, scenario, assembly, resuming)
                totals = Totals(**start.progress)
                journal = Journal(directory, observer, totals)
                observer.started(scenario, path, start.round + 1)
                loop = RoundLoop(
                    grid=grid,
                    strategy=assembly.strategy,
                    sampler=assembly.sampler,
                    population=assembly.population,
                    systems=assembly.systems,
                    schedule=assembly.schedule,
                    test=assembly.test,
                    journal=journal,
                    signals=signals,
                )
                try:
                    end = loop.run(start)
                except Interrupted as stop:
                    journal.save()
                    done = journal.latest.round if journal.latest else start.round
                    raise Interrupted(
                        f"{stop} after round {done} of {scenario.rounds}; go on with: fedbal run --resume {path}",
                        stop.number,
                    ) from None
                journal.save()
                summary = _finish(directory, scenario, assembly, end, totals)
            finally:
                directory.close()
    observer.finished(summary)
    return RunResult(path, summary)


def _open(directory: RunDirectory, scenario: Scenario, assembly: Assembly, resuming: bool) -> Snapshot:
    """Prepare the directory and return the state to start from."""
    found = checkpoint.load(directory.path) if resuming else None
    if found is not None:
        directory.cut(found.offsets)
        return found
    directory.cut({})
    plan = json.dumps(assembly.plan_fingerprint)
    progress = vars(Totals(cohorts=fingerprints.chain("", 0, []), batches=fingerprints.chain(plan, 0, [])))
    directory.write(CLIENTS_TABLE, _clients_table(assembly))
    directory.write(FINGERPRINTS, _json(_fingerprints(assembly)))
    # The scenario comes last: a directory with a scenario is a run that can be resumed.
    directory.write(SCENARIO, scenario.to_yaml())
    return Snapshot(0, assembly.initial, strategy=assembly.initial_strategy_state, progress=progress)


def _finish(
    directory: RunDirectory, scenario: Scenario, assembly: Assembly, end: Snapshot, totals: Totals
) -> dict[str, Any]:
    arrays = {name: np.ascontiguousarray(value) for name, value in end.arrays.items()}
    with disk_errors(directory.path):
        write_atomically(directory.path / MODEL, save(arrays))
    directory.write(
        FINGERPRINTS,
        _json({**_fingerprints(assembly), "cohorts": totals.cohorts, "batches": totals.batches}),
    )
    seeds = scenario.seed
    same = seeds.partition == seeds.init == seeds.training
    summary = {
        "scenario": scenario.name,
        "strategy": scenario.strategy.name,
        "client": scenario.client.update.name,
        "seed": seeds.partition if same else dict(seeds),
        "rounds": end.round,
        "final": totals.last_test,
        "best": totals.best,
        "seconds": {"total": totals.seconds, "simulated": totals.simulated_seconds},
        "bytes": {"up": totals.bytes_up, "down": totals.bytes_down},
        "notes": totals.notes,
        "status": "diverged" if totals.diverged else "finished",
    }
    # The summary comes last: where there is one, the run is complete.
    directory.write(SUMMARY, _json(summary))
    return json.loads(to_json(summary))  # type: ignore[no-any-return]


def _fingerprints(assembly: Assembly) -> dict[str, Any]:
    return {
        "partition": assembly.federation.fingerprint(),
        "initial": fingerprints.of_arrays(assembly.initial),
        "cohorts": None,
        "batches": None,
        "engine": assembly.engine,
        "code": fingerprints.of_code(assembly.user_files),
        "packages": fingerprints.of_packages(),
        "hardware": fingerprints.of_hardware(assembly.clients.device),
    }


def _require_same(before: dict[str, Any], assembly: Assembly) -> None:
    """Refuse to go on with other data or another initial model than the run began with."""
    now = {
        "partition": assembly.federation.fingerprint(),
        "initial": fingerprints.of_arrays(assembly.initial),
    }
    for key, value in now.items():
        if before.get(key) != value:
            raise RunError(
                f"cannot resume: the {key} fingerprint is {value[:12]}, the run began with "
                f"{str(before.get(key))[:12]}; its data or its code have changed since."
            )


def _clients_table(assembly: Assembly) -> str:
    federation = assembly.federation
    counts = federation.label_counts()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = [f"class_{name}" for name in federation.dataset.classes]
    writer.writerow(["client", "train", "validation", "client_test", "samples_per_second", *classes])
    sizes = np.stack([federation.train.sizes, federation.validation.sizes, federation.client_test.sizes], 1)
    for index, (row, count) in enumerate(zip(sizes.tolist(), counts.tolist(), strict=True)):
        speed = f"{assembly.systems.speeds[index]:.6g}"
        writer.writerow([federation.names[index], *row, speed, *count])
    return text.getvalue()


def _default_directory(name: str) -> Path:
    stem = RUNS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1, 1000):
        path = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
        if not path.exists():
            return path
    raise UsageError(f"{stem} and its successors exist; give --out.")


@contextmanager
def _quiet(threads: int) -> Iterator[None]:
    """Use the given number of torch threads and silence Flower's own log, for the time of a run."""
    logger = logging.getLogger("flwr")
    before = (torch.get_num_threads(), logger.level)
    torch.set_num_threads(threads)
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        logger.setLevel(before[1])


def _json(value: Any) -> str:
    return json.dumps(json.loads(to_json(value)), indent=2) + "\n"


__all__ = ["FedbalError", "Interrupted", "RunResult", "resume", "run"]
