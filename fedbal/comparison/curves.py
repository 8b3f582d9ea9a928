"""Arrays for figures: curves over rounds and costs, recall by class, clients' weights beside their class mix."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fedbal.comparison.chance import chance_level
from fedbal.comparison.history import PER_CLASS, Floats, Ints, fingerprints_of, history
from fedbal.comparison.records import Protocol, RunRecord
from fedbal.comparison.windows import class_means, last_round
from fedbal.results import CLIENTS, CLIENTS_TABLE, read_rows

Axis = Literal["rounds", "bytes", "client_seconds", "seconds"]
AXES: tuple[Axis, ...] = ("rounds", "bytes", "client_seconds", "seconds")
LISTED_CLIENTS = 60


@dataclass(frozen=True)
class Curve:
    """A metric of one run along what it cost.

    Attributes
    ----------
    dataset, method, seed
        Which run.
    rounds : ndarray of int, (n,)
        Round after which each value was measured; 0 is the initial model.
    x : ndarray, (n,)
        What the run had spent by then: rounds, bytes up and down, simulated client-seconds or real seconds.
    y : ndarray, (n,)
        The metric, where it exists.
    """

    dataset: str
    method: str
    seed: int
    rounds: Ints
    x: Floats
    y: Floats


@dataclass(frozen=True)
class ClassHeat:
    """How well each class fares under each method on one data set.

    Attributes
    ----------
    dataset : str
        Which.
    metric : str
        ``per_class_recall``, of masks ``per_class_dice`` (without the background).
    methods : tuple of str
        Rows.
    classes : tuple of str
        Columns.
    values : ndarray, (methods, classes)
        Mean over seeds of the mean over the window, a diverged run at chance level; NaN where a class has no test
        sample.
    training : ndarray, (classes,)
        Training samples of each class over all clients, mean over seeds; NaN for masks.
    """

    dataset: str
    metric: str
    methods: tuple[str, ...]
    classes: tuple[str, ...]
    values: Floats
    training: Floats


@dataclass(frozen=True)
class ClientWeights:
    """What a rule gave each client of a run, beside what the client holds.

    Attributes
    ----------
    clients : tuple of str
        Listed clients, by training samples, most first.
    of : int
        Clients of the run.
    samples : ndarray of int, (clients,)
        Training samples.
    classes : tuple of str
        Names; none where rows are not counted by class.
    counts : ndarray of int, (clients, classes)
        Training samples of each class.
    rounds : ndarray of int, (T,)
        Rounds.
    weights : ndarray, (T, clients)
        Weight in the average; 0 for a client whose work did not count, NaN for one that was not asked, or where
        the rule does not say its weights.
    """

    clients: tuple[str, ...]
    of: int
    samples: Ints
    classes: tuple[str, ...]
    counts: Ints
    rounds: Ints
    weights: Floats


def curves(
    records: Iterable[RunRecord],
    place: str,
    axis: Axis = "rounds",
    budget: tuple[str, float] | None = None,
) -> tuple[Curve, ...]:
    """Return a metric of every run that came to an end and has it.

    Parameters
    ----------
    records : iterable of RunRecord
        The runs.
    place : str
        Dotted place in a row: ``test.balanced_accuracy``, ``fairness.worst_10_percent``, ``train.loss``.
    axis : {"rounds", "bytes", "client_seconds", "seconds"}
        What x is.
    budget : tuple of str and float, optional
        Unit and amount up to which values are returned.
    """
    found = []
    for record in _ended(records):
        assert record.directory is not None
        run = history(record.directory)
        series = run.find(place)
        if series is None:
            continue
        known = ~np.isnan(series.values) & (series.rounds <= last_round(run, budget))
        if known.any():
            rounds = series.rounds[known]
            where = (record.dataset, record.method, record.seed)
            found.append(Curve(*where, rounds, run.spent[axis][rounds], series.values[known]))
    return tuple(found)


def class_heat(protocol: Protocol, records: Sequence[RunRecord]) -> tuple[ClassHeat, ...]:
    """Return the class map of every data set that has one; a method without a common model has no row.

    Parameters
    ----------
    protocol : Protocol
        Window, budget and the order of methods and data sets.
    records : sequence of RunRecord
        The runs.
    """
    maps = [_class_heat(protocol, dataset, records) for dataset in protocol.datasets]
    return tuple(one for one in maps if one is not None)


def client_weights(directory: Path, listed: int = LISTED_CLIENTS) -> ClientWeights:
    """Read what a run's rule gave its clients.

    Parameters
    ----------
    directory : Path
        The run directory.
    listed : int
        How many clients are listed at most, those with the most training samples.
    """
    with (directory / CLIENTS_TABLE).open(newline="") as lines:
        table = list(csv.DictReader(lines))
    of = len(table)
    table = sorted(table, key=lambda row: -int(row["train"]))[:listed]
    columns = [name for name in table[0] if name.startswith("class_")] if table else []
    position = {row["client"]: index for index, row in enumerate(table)}
    run = history(directory)
    weights = np.full((run.rounds, len(table)), np.nan)
    for row in read_rows(directory / CLIENTS):
        index = position.get(row["client"])
        if index is None or row["round"] > run.rounds:
            continue
        if row["weight"] is not None:
            weights[row["round"] - 1, index] = row["weight"]
        elif row["status"] != "ok":
            weights[row["round"] - 1, index] = 0.0
    return ClientWeights(
        clients=tuple(position),
        of=of,
        samples=np.array([int(row["train"]) for row in table], np.int64),
        classes=tuple(name.removeprefix("class_") for name in columns),
        counts=np.array([[int(row[name]) for name in columns] for row in table], np.int64).reshape(
            len(table), len(columns)
        ),
        rounds=np.arange(1, run.rounds + 1),
        weights=weights,
    )


def _ended(records: Iterable[RunRecord]) -> list[RunRecord]:
    return [
        record
        for record in records
        if record.directory is not None and record.status in ("finished", "diverged")
    ]


def _class_heat(protocol: Protocol, dataset: str, records: Sequence[RunRecord]) -> ClassHeat | None:
    here = [record for record in _ended(records) if record.dataset == dataset]
    rows: dict[str, list[Floats]] = {}
    training: list[Floats] = []
    metric, classes = "", tuple[str, ...]()
    for method in protocol.methods:
        if method.tests.startswith("personal."):
            continue
        for record in here:
            if record.method != method.label or (found := _classes_of(protocol, record)) is None:
                continue
            metric, classes, values, counts = found
            rows.setdefault(method.label, []).append(values)
            training.append(counts)
    if not rows:
        return None
    means = np.array([_mean_of_known(np.array(seeds)) for seeds in rows.values()])
    return ClassHeat(dataset, metric, tuple(rows), classes, means, np.mean(training, axis=0))


def _classes_of(protocol: Protocol, record: RunRecord) -> tuple[str, tuple[str, ...], Floats, Floats] | None:
    """Return a run's metric by class, the names of these classes, its values and the training samples."""
    assert record.directory is not None
    run, task = history(record.directory), fingerprints_of(record.directory)["task"]
    metric = next((name for name in PER_CLASS if name in run.per_class), None)
    if metric is None:
        return None
    values = class_means(run.per_class, metric, last_round(run, protocol.budget), protocol.primary.share)
    names, groups = tuple(task["classes"]), task.get("groups")
    if record.status == "diverged":
        masks = bool(task.get("target_shape"))
        level = chance_level("test.dice" if masks else "test.accuracy", len(names), masks=masks)
        values = np.where(np.isnan(values), values, np.float64(level or 0.0))
    counts = np.full(len(values), np.nan) if groups is None else np.array(groups["counts"], np.float64)
    # Of masks the background, the first class, has no number.
    return metric, names[len(names) - len(values) :], values, counts


def _mean_of_known(values: Floats) -> Floats:
    """Return the mean over the first axis of what exists, NaN where nothing does."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean: Floats = np.divide(
        total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0)
    )
    return mean
