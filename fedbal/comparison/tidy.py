"""``results.csv`` and ``outcomes.csv``: every number of a comparison, one a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fedbal.comparison.history import ON_CLIENTS, Floats, History, Ints, history
from fedbal.comparison.records import Protocol, RunRecord
from fedbal.comparison.windows import last_round
from fedbal.results import disk_errors, write_atomically

RESULTS = "results.csv"
OUTCOMES = "outcomes.csv"
COLUMNS = ("run", "dataset", "method", "seed", "status", "round", "metric", "value")
OUTCOME_COLUMNS = ("run", "dataset", "method", "seed", "metric", "value")
SAME_ALWAYS = ("samples", "clients", "tenth", "pooled_clients", "pooled_n", "sampled")
"""Sizes that no round changes."""
SPENT = ("bytes", "client_seconds")
DIGITS = 12


def write(protocol: Protocol, records: Sequence[RunRecord], directory: Path) -> tuple[Path, Path]:
    """Write both files and return their paths.

    Parameters
    ----------
    protocol : Protocol
        Budget up to which rounds are written.
    records : sequence of RunRecord
        The runs.
    directory : Path
        Where the files go.
    """
    paths = directory / RESULTS, directory / OUTCOMES
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for path, header, rows in zip(
            paths,
            (COLUMNS, OUTCOME_COLUMNS),
            (round_rows(protocol, records), outcome_rows(records)),
            strict=True,
        ):
            write_atomically(path, _lines(header, rows))
    return paths


def round_rows(protocol: Protocol, records: Iterable[RunRecord]) -> Iterator[tuple[object, ...]]:
    """Yield a row for each run, evaluated round and scalar metric.

    The round of a client view (``fairness``, ``personal``, ``unseen``) is that of the model, 0 the initial one.
    ``bytes`` and ``client_seconds`` are what the run had spent by the end of the round. Of a failed or open run
    there is one row with its status and nothing else.
    """
    for record in records:
        if record.directory is None or record.status not in ("finished", "diverged"):
            yield (*_place(record), None, None, None)
            continue
        run = history(record.directory)
        last = last_round(run, protocol.budget)
        for metric, rounds, values in _metrics(run):
            for at, value in zip(rounds.tolist(), values.tolist(), strict=True):
                if at <= last and value == value:
                    yield (*_place(record), at, metric, value)


def outcome_rows(records: Iterable[RunRecord]) -> Iterator[tuple[object, ...]]:
    """Yield a row for each run and outcome, over the window of the primary one, as ``fedbal stats`` reads them.

    Diverged runs stand there with the values that they count as.
    """
    for record in records:
        for metric, value in record.values.items():
            if value is not None:
                yield (*_place(record)[:-1], metric, value)


def _metrics(run: History) -> Iterator[tuple[str, Ints, Floats]]:
    tests = [series.rounds for place, series in run.series.items() if place.startswith("test.")]
    evaluated = np.unique(np.concatenate(tests)) if tests else np.empty(0, np.int64)
    for place, series in run.series.items():
        part, _, name = place.rpartition(".")
        if name in (*SAME_ALWAYS, *SPENT):
            continue
        kept = np.isin(series.rounds, evaluated) | (part in ON_CLIENTS)
        yield place, series.rounds[kept], series.values[kept]
    for name in SPENT:
        yield name, evaluated, run.spent[name][evaluated]


def _place(record: RunRecord) -> tuple[str, str, str, int, str]:
    name = "" if record.directory is None else record.directory.name
    return name, record.dataset, record.method, record.seed, record.status


def _lines(header: Sequence[str], rows: Iterable[tuple[object, ...]]) -> Iterator[bytes]:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    for row in rows:
        table.writerow([f"{cell:.{DIGITS}g}" if isinstance(cell, float) else cell for cell in row])
        if text.tell() > 1 << 16:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()
