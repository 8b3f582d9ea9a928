"""From run directories to what a comparison is about: one record a run, with every outcome over the same window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol as Interface

import numpy as np

from fedbal.comparison.alone import better_than_alone
from fedbal.comparison.chance import chance_level
from fedbal.comparison.history import History, fingerprints_of, history, scenario_of
from fedbal.comparison.records import Protocol, RunRecord
from fedbal.comparison.windows import last_round, mean
from fedbal.errors import RunError, UsageError
from fedbal.final_clients import read_final
from fedbal.results import SCENARIO, RunReader

SECONDARY = (
    *("test.accuracy", "test.balanced_accuracy", "test.macro_f1", "test.worst_class_recall"),
    *("test.many", "test.medium", "test.few", "test.nll", "test.ece", "test.dice", "test.iou"),
    *("fairness.mean", "fairness.std", "fairness.worst_10_percent", "fairness.pooled_accuracy"),
    *("fairness.pooled_balanced_accuracy", "fairness.pooled_dice"),
    *("personal.mean", "personal.std", "personal.worst_10_percent", "personal.pooled_accuracy"),
    *("personal.pooled_balanced_accuracy", "personal.pooled_dice"),
)
"""Exploratory outcomes of every run, by place."""
MEGABYTES = "megabytes"
"""Bytes up and down of all training messages, in 10^6."""
CLIENT_SECONDS = "client_seconds"
"""Simulated seconds of all clients' local work, added up: samples passed over by the client's samples a second. The
same on every machine, so that a budget cuts every run of a seed at the same place; what a rule computes beside its
local steps is in ``wall_seconds`` only."""
WALL_SECONDS = "wall_seconds"
"""Real seconds of the whole rounds on the machine that ran them."""
BETTER = "better_than_alone"
BETTER_WEIGHTED = "better_than_alone_weighted"
BETTER_CLIENTS = "better_than_alone_clients"
"""Share of clients that the method serves better than training alone; the same by test rows; how many clients."""
ALONE = "local_only"
NOT_FINITE = ("loss", "nll", "brier", "auroc")
"""Metrics that do not exist of a model that is not finite."""


class Cell(Interface):
    """A planned run: where it stands in the comparison, where it lies, and why it failed if it did."""

    @property
    def dataset(self) -> str:
        """Label of the variation."""
        ...

    @property
    def method(self) -> str:
        """Label of the method."""
        ...

    @property
    def seed(self) -> int:
        """Seed."""
        ...

    @property
    def directory(self) -> Path:
        """Run directory; it need not exist."""
        ...

    @property
    def reason(self) -> str | None:
        """Why the run failed, in one sentence; None if it did not."""
        ...


def read(protocol: Protocol, cells: Iterable[Cell]) -> tuple[RunRecord, ...]:
    """Read the outcomes of every run.

    Parameters
    ----------
    protocol : Protocol
        What was declared: primary outcome, window and budget.
    cells : iterable of Cell
        Every planned run, whatever became of it.

    Returns
    -------
    tuple of RunRecord
        One for each cell: data set by data set, seed by seed, methods as declared. A diverged run has values at
        chance level, of the primary outcome the worst one seen where there is no such level.

    Raises
    ------
    UsageError
        The budget is smaller than what the first round of a run costs.
    """
    records = [_record(protocol, cell) for cell in cells]
    labels = [method.label for method in protocol.methods]
    order = {
        (dataset, label): (first, second)
        for first, dataset in enumerate(protocol.datasets)
        for second, label in enumerate(labels)
    }

    def place(record: RunRecord) -> tuple[int, int, int]:
        dataset, method = order.get((record.dataset, record.method), (len(order), len(order)))
        return dataset, record.seed, method

    records.sort(key=place)
    return tuple(_beside_alone(_at_worst(protocol, records), protocol))


def values_of(records: Iterable[RunRecord], place: str) -> dict[str, dict[str, dict[int, float]]]:
    """Return an outcome of the runs that came to an end and have it: data set, method, seed.

    Parameters
    ----------
    records : iterable of RunRecord
        The runs.
    place : str
        Which outcome, one of a record's ``values``.
    """
    found: dict[str, dict[str, dict[int, float]]] = {}
    for record in records:
        value = record.values.get(place)
        if record.status in ("finished", "diverged") and value is not None:
            found.setdefault(record.dataset, {}).setdefault(record.method, {})[record.seed] = value
    return found


def places(protocol: Protocol) -> tuple[str, ...]:
    """Return every place that records have a value of: the primary outcome first, then the exploratory ones."""
    own = [method.tests for method in protocol.methods if method.tests]
    return tuple(dict.fromkeys((protocol.primary.name, *own, *map(on_clients, own), *SECONDARY)))


def on_clients(place: str) -> str:
    """Return where the common model has what a personal model has at ``personal.``, on the same rows."""
    return f"fairness.{place.removeprefix('personal.')}" if place.startswith("personal.") else place


def _record(protocol: Protocol, cell: Cell) -> RunRecord:
    directory = cell.directory
    record = RunRecord(
        dataset=cell.dataset,
        method=cell.method,
        seed=cell.seed,
        status="failed" if cell.reason else "open",
        directory=directory if (directory / SCENARIO).is_file() else None,
        reason=cell.reason,
    )
    if record.directory is None:
        return record
    try:
        summary = RunReader(directory).summary()
        if summary is None:
            return record
        run, diverged = history(directory), summary["status"] == "diverged"
        last = _last(protocol, run, record)
        values = _values(protocol, run, last, directory, diverged=diverged)
    except RunError as error:
        return replace(record, status="failed", reason=str(error))
    return replace(
        record,
        status="diverged" if diverged else "finished",
        reason=None,
        values=values,
        dropped=int(run.dropped[last]),
    )


def _last(protocol: Protocol, run: History, record: RunRecord) -> int:
    last = last_round(run, protocol.budget)
    if last or protocol.budget is None:
        return last
    unit, amount = protocol.budget
    raise UsageError(
        f"budget: {amount:g} {unit} is less than the first round of {record.method} (seed {record.seed}) takes, "
        f"{run.spent[unit][1]:g}; raise it. The runs are kept."
    )


def _values(
    protocol: Protocol, run: History, last: int, directory: Path, *, diverged: bool
) -> dict[str, float | None]:
    share = protocol.primary.share
    values = {place: mean(run.find(place), last, share) for place in places(protocol)}
    if diverged:
        primary = {protocol.primary.name, *(method.tests for method in protocol.methods)}
        task = fingerprints_of(directory)["task"]
        for place in values:
            level = chance_level(place, len(task["classes"]), masks=bool(task.get("target_shape")))
            if place in primary and protocol.primary.chance is not None:
                level = protocol.primary.chance
            values[place] = level if _applies(run, place) else None
    values[MEGABYTES] = float(run.spent["bytes"][last]) / 1e6
    values[CLIENT_SECONDS] = _finite(run.spent["client_seconds"][last])
    values[WALL_SECONDS] = _finite(run.spent["seconds"][last])
    return values


def _applies(run: History, place: str) -> bool:
    """Tell whether a metric exists for a run; one that cannot be had of a useless model does."""
    series = run.find(place)
    if series is None:
        return False
    return place.rpartition(".")[2] in NOT_FINITE or not bool(np.isnan(series.values).all())


def _at_worst(protocol: Protocol, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Give diverged runs the worst value of their data set where the primary outcome has no chance level."""
    worst = min if protocol.primary.higher else max
    seen = {
        (dataset, place): worst(value for seeds in methods.values() for value in seeds.values())
        for place in {protocol.primary.name, *(method.tests for method in protocol.methods)}
        for dataset, methods in values_of(records, place).items()
    }
    filled = []
    for record in records:
        values = dict(record.values)
        if record.status == "diverged":
            for place in _primaries(protocol, record):
                if values.get(place) is None:
                    values[place] = seen.get((record.dataset, place))
        filled.append(replace(record, values=values))
    return filled


def _primaries(protocol: Protocol, record: RunRecord) -> tuple[str, ...]:
    own = (method.tests for method in protocol.methods if method.label == record.method and method.tests)
    return (protocol.primary.name, *own)


def _beside_alone(records: Sequence[RunRecord], protocol: Protocol) -> list[RunRecord]:
    """Add which share of the clients each run serves better than local training of the same seed does."""
    whole = [record for record in records if _is_whole(record, protocol)]
    alone = {
        (record.dataset, record.seed): record
        for record in whole
        if record.status == "finished" and _trains_alone(record)
    }
    compared = []
    for record in records:
        base = alone.get((record.dataset, record.seed))
        if base is not None and base is not record and record in whole and not _trains_alone(record):
            record = replace(record, values={**record.values, **_against(record, base)})
        compared.append(record)
    return compared


def _against(record: RunRecord, alone: RunRecord) -> dict[str, float | None]:
    assert record.directory is not None
    assert alone.directory is not None
    found = better_than_alone(read_final(record.directory), read_final(alone.directory))
    if found is None:
        return {}
    # A model that is not finite serves nobody, whatever class it happens to name.
    served = record.status == "finished"
    return {
        BETTER: found.share if served else 0.0,
        BETTER_WEIGHTED: found.weighted if served else 0.0,
        BETTER_CLIENTS: float(found.clients),
    }


def _is_whole(record: RunRecord, protocol: Protocol) -> bool:
    """Tell whether a run came to an end and counts up to it: the scores of clients are of its final model."""
    if record.directory is None or record.status not in ("finished", "diverged"):
        return False
    run = history(record.directory)
    return last_round(run, protocol.budget) == run.rounds


def _trains_alone(record: RunRecord) -> bool:
    assert record.directory is not None
    return bool(scenario_of(record.directory)["strategy"]["name"] == ALONE)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
