"""Runs the repeats of a case's rows in turn, so that all see the same machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.speed.cases import Case
from benchmarks.speed.measure import Run, run_once
from benchmarks.speed.prepare import prepare
from benchmarks.speed.rows import Row

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes
    ----------
    repeats : int
        Runs of every row.
    rows : tuple of str
        Names of rows to run; empty: all.
    cache : Path
        Folder for compiled code.
    device : str
        Where models are trained.
    """

    repeats: int
    cache: Path
    rows: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def gpu(self) -> bool:
        """Whether the work is on a GPU."""
        return self.device.startswith("cuda")


def run_case(case: Case, options: Options, say: Say) -> dict[str, Any]:
    """Run a case and return what was measured, as plain values."""
    chosen = [row for row in case.rows if not options.rows or row.name in options.rows]
    reasons = {row.name: row.missing() for row in chosen}
    able = [row for row in chosen if not reasons[row.name]]
    runs: dict[str, list[Run]] = {row.name: [] for row in chosen}
    picked: dict[str, tuple[str, ...]] = {}
    with tempfile.TemporaryDirectory(prefix="fedbal-speed-task-") as folder:
        task = prepare(case, Path(folder) / "task", device=options.device) if case.data != "none" else None
        for row in able:
            picked[row.name] = _pick(row, case, task, options, say)
            for _ in range(row.warm_runs):
                _once(row, case, task, options, picked[row.name])
        for repeat in range(options.repeats):
            for row in able:
                if repeat and runs[row.name][0].error is not None:
                    continue
                run = _once(row, case, task, options, picked[row.name])
                runs[row.name].append(run)
                say(f"{case.name}, {repeat + 1} of {options.repeats}: {row.name}: {_told(run, case)}")
    return {
        "title": case.title,
        "unit": case.unit,
        "cohort": case.cohort,
        "clients": case.clients,
        "rounds": case.rounds,
        "tolerance": case.tolerance,
        "rows": {
            row.name: {
                "workers": row.workers,
                "scale": row.scale,
                "choice": " ".join(picked.get(row.name, ())),
                "skipped": reasons[row.name],
                "runs": [run.to_dict() for run in runs[row.name]],
            }
            for row in chosen
        },
    }


def reused(case: Case, done: dict[str, Any]) -> dict[str, Any] | None:
    """Return what an earlier case measured of this one's rows, None if a row is not among them."""
    earlier = done.get(case.reuse)
    if earlier is None or any(row.name not in earlier["rows"] for row in case.rows):
        return None
    rows = {row.name: earlier["rows"][row.name] for row in case.rows}
    return {**earlier, "title": case.title, "rows": rows}


def _pick(row: Row, case: Case, task: Path | None, options: Options, say: Say) -> tuple[str, ...]:
    """Return the fastest of a row's choices, each run once."""
    if len(row.choices) < 2:
        return row.choices[0] if row.choices else ()
    short = replace(case, rounds=min(case.rounds, case.warm + 2))
    found: list[tuple[float, tuple[str, ...]]] = []
    for choice in row.choices:
        run = _once(row, short, task, options, choice)
        say(f"{case.name}: {row.name} {' '.join(choice)}: {_told(run, case)}")
        if run.round is not None:
            found.append((run.round, choice))
    return min(found)[1] if found else row.choices[0]


def _once(row: Row, case: Case, task: Path | None, options: Options, choice: Sequence[str]) -> Run:
    given = ["--device", options.device] if row.reads_arrays else []
    command = [*row.command, *given, *choice]
    return run_once(
        command,
        task if row.takes_task else None,
        case.rounds,
        case.warm,
        cache=options.cache,
        gpu=options.gpu,
    )


def _told(run: Run, case: Case) -> str:
    if run.error is not None:
        return run.error
    if case.unit == "total":
        return f"{run.seconds:.1f} s"
    if run.round is None:
        return "too few rounds"
    return f"{run.round / case.cohort * 1e3:.3f} ms a client, first round after {run.start or 0:.1f} s"
