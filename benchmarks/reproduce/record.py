"""One run of a study: runs it, reads endpoints and curves, and keeps nothing else."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reproduce.study import Cell, Metric, Study
from fedbal import fingerprints, simulation
from fedbal.errors import FedbalError
from fedbal.interrupts import Interrupted
from fedbal.results import CHECKPOINT, RunReader, to_json, write_atomically

Curve = dict[str, list[float | None]]


def address(cell: Cell) -> str:
    """Return the name under which a run is kept: a hash of its resolved scenario."""
    text = json.dumps(cell.scenario.resolved(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def execute(study: Study, cell: Cell, folder: Path) -> dict[str, Any]:
    """Run a cell, or go on with it, and keep its record as ``folder/<address>.json``.

    Whatever fails is a record with status ``failed`` and the reason, so that the other runs go on.

    Parameters
    ----------
    study : Study
        What it belongs to.
    cell : Cell
        The run.
    folder : Path
        Where records are kept; the run directory is in it until the run is finished.
    """
    name, started = address(cell), time.monotonic()
    place = folder / "unfinished" / name
    record: dict[str, Any] = {"setting": cell.setting, "arm": cell.arm, "seed": cell.seed}
    try:
        result = _run(cell, place)
        reader = RunReader(place)
        record |= {"status": result.status, **_read(study, reader)}
        if study.measure is not None:
            record["endpoints"] |= dict(study.measure(cell.scenario, reader))
    except Interrupted:
        raise
    except FedbalError as error:
        record |= {"status": "failed", "reason": str(error)}
    except Exception as error:
        record |= {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    record |= {"seconds": time.monotonic() - started, "code": fingerprints.of_code()}
    write_atomically(folder / f"{name}.json", to_json(record).encode())
    shutil.rmtree(place, ignore_errors=True)
    return record


def kept(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """Return the record of a run that is done; None if it is not or has failed."""
    path = folder / f"{address(cell)}.json"
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    # Arms of two settings may be the same run, which is then done once.
    record |= {"setting": cell.setting, "arm": cell.arm}
    return None if record["status"] == "failed" else record


def endpoints(
    values: Sequence[float | None], rounds: Sequence[int], total: int, windows: Iterable[int], higher: bool
) -> dict[str, float | None]:
    """Return ``last``, ``lastN`` for each window of N rounds, and ``best`` of a curve.

    Parameters
    ----------
    values, rounds : sequence, shape (n,)
        The curve, and the rounds in which it was measured.
    total : int
        Rounds of the run.
    windows : iterable of int
        Lengths N; the mean is over the evaluated rounds among the last N.
    higher : bool
        Whether the best value is the largest.
    """
    known = [(at, value) for at, value in zip(rounds, values, strict=True) if value is not None]
    found: dict[str, float | None] = {"last": values[-1] if values else None}
    for window in windows:
        tail = [value for at, value in known if at > total - window]
        found[f"last{window}"] = math.fsum(tail) / len(tail) if tail else None
    best = max if higher else min
    found["best"] = best((value for _, value in known), default=None)
    return found


def _run(cell: Cell, place: Path) -> simulation.RunResult:
    if (place / CHECKPOINT).is_dir():
        try:
            return simulation.resume(place)
        except Interrupted:
            raise
        except FedbalError:
            pass  # Changed code or a damaged file: it starts anew.
    shutil.rmtree(place, ignore_errors=True)
    return simulation.run(cell.scenario, place)


def _read(study: Study, reader: RunReader) -> dict[str, Any]:
    rows = [row for row in reader.rounds() if row["test"] is not None]
    rounds, total = [int(row["round"]) for row in rows], int(reader.scenario["rounds"])
    curve: Curve = {"round": list(rounds)}
    found: dict[str, float | None] = {}
    for metric in study.metrics:
        curve[metric.name] = values = [_at(row, metric) for row in rows]
        for window, value in endpoints(values, rounds, total, study.windows, metric.higher).items():
            found[f"{metric.name}.{window}"] = value
    return {"endpoints": found, "curve": curve}


def _at(row: Mapping[str, Any], metric: Metric) -> float | None:
    value: Any = row
    for key in metric.path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def single_thread() -> None:
    """Keep a worker to one core; call before torch is imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
