"""Everything that is drawn of one data set of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedbal.comparison.compared import Compared
from fedbal.comparison.curves import ClassHeat, class_heat
from fedbal.comparison.history import scenario_of
from fedbal.comparison.outcomes import CLIENT_SECONDS, MEGABYTES, WALL_SECONDS
from fedbal.comparison.ranked import CLIENT_MEAN, PERSONAL_MEAN, mean_of, place_of, worst_of
from fedbal.comparison.records import Method, Outcome, RunRecord
from fedbal.comparison.statistics.results import Contrast
from fedbal.comparison.views.clients import ClientsView, clients_view
from fedbal.comparison.views.curves import Course, course

FURTHER = (
    Outcome("test.balanced_accuracy", "balanced accuracy"),
    Outcome("test.accuracy", "accuracy"),
    Outcome("test.few", "few-shot recall"),
    Outcome("test.worst_class_recall", "worst class recall"),
    Outcome("test.dice", "Dice"),
    Outcome("test.iou", "IoU"),
    Outcome("fairness.worst_10_percent", "worst 10 % of clients"),
    Outcome("test.loss", "test loss", higher=False, percent=False),
)
"""What curves can show besides the primary outcome."""


@dataclass(frozen=True)
class Spread:
    """A method's primary outcome and the mean of its worst tenth of clients, seed by seed."""

    seeds: tuple[int, ...]
    primary: tuple[float, ...]
    worst: tuple[float, ...]


@dataclass(frozen=True)
class Cost:
    """Means over seeds of a method's MB up and down, simulated client-seconds and wall seconds; None: unknown."""

    megabytes: float | None
    client_seconds: float | None
    wall_seconds: float | None


@dataclass(frozen=True)
class View:
    """One data set; every mapping is by the method's label and leaves out methods that lack the numbers.

    Attributes
    ----------
    dataset : str
        Its label.
    outcomes : tuple of Outcome
        What the curves have, the primary one first.
    curves : mapping
        Courses over the rounds.
    contrasts : tuple of Contrast
        Differences from the baseline, reference rows after the others.
    heat : ClassHeat or None
        Recall (masks: Dice) of each class.
    clients : ClientsView or None
        Clients and weights of the first seed.
    fairness : mapping
        Primary outcome and worst tenth of clients.
    personal : mapping
        Mean over clients of the global model and of the clients' own models.
    cost : mapping
        What a run takes.
    """

    dataset: str
    outcomes: tuple[Outcome, ...]
    curves: Mapping[str, Course]
    contrasts: tuple[Contrast, ...]
    heat: ClassHeat | None
    clients: ClientsView | None
    fairness: Mapping[str, Spread]
    personal: Mapping[str, tuple[float | None, float]]
    cost: Mapping[str, Cost]


def views(compared: Compared) -> list[View]:
    """Return one view a data set.

    Parameters
    ----------
    compared : Compared
        The comparison; run directories are read.
    """
    return [_view(compared, dataset) for dataset in compared.protocol.datasets]


def _view(compared: Compared, dataset: str) -> View:
    runs = {
        method: [
            record
            for record in compared.records
            if record.dataset == dataset
            and record.method == method.label
            and record.status in ("finished", "diverged")
        ]
        for method in compared.protocol.methods
    }
    runs = {method: records for method, records in runs.items() if records}
    outcomes, curves = _curves(compared, runs)
    clients = _clients(runs)
    heat = next(
        (one for one in class_heat(compared.protocol, compared.records) if one.dataset == dataset), None
    )
    return View(
        dataset=dataset,
        outcomes=outcomes,
        curves=curves,
        contrasts=tuple(
            found
            for found in (*compared.analysis.contrasts, *compared.analysis.references)
            if found.dataset == dataset
        ),
        heat=heat,
        clients=clients,
        fairness={
            method.label: spread
            for method, records in runs.items()
            if (spread := _spread(records, place_of(compared, method), worst_of(method))).seeds
        },
        personal={
            method.label: (mean_of(records, CLIENT_MEAN), own)
            for method, records in runs.items()
            if (own := mean_of(records, PERSONAL_MEAN)) is not None
        },
        cost={
            method.label: Cost(
                *(mean_of(records, name) for name in (MEGABYTES, CLIENT_SECONDS, WALL_SECONDS))
            )
            for method, records in runs.items()
        },
    )


def _curves(
    compared: Compared, runs: Mapping[Method, Sequence[RunRecord]]
) -> tuple[tuple[Outcome, ...], dict[str, Course]]:
    primary = compared.protocol.primary
    wanted = (primary, *(outcome for outcome in FURTHER if outcome.name != primary.name))
    curves = {}
    for method, records in runs.items():
        places = {outcome.name: outcome.name for outcome in wanted}
        # A row without a common model is drawn by the place of its own outcome.
        places[primary.name] = place_of(compared, method)
        if found := course(records, places, compared.protocol.budget):
            curves[method.label] = found
    known = {name for found in curves.values() for name in found.values}
    return tuple(outcome for outcome in wanted if outcome.name in known), curves


def _clients(runs: Mapping[Method, Sequence[RunRecord]]) -> ClientsView | None:
    """Take the seed that most methods have; rows without an average of clients' models have no weights."""
    by_seed: dict[int, dict[str, RunRecord]] = {}
    for method, records in runs.items():
        for record in records:
            if record.directory is None:
                continue
            if scenario_of(record.directory)["strategy"]["name"] not in ("centralised", "local_only"):
                by_seed.setdefault(record.seed, {})[method.label] = record
    if not by_seed:
        return None
    seed = max(by_seed, key=lambda one: (len(by_seed[one]), -one))
    chosen = {label: record.directory for label, record in by_seed[seed].items()}
    return clients_view(seed, {label: path for label, path in chosen.items() if path is not None})


def _spread(records: Sequence[RunRecord], place: str, worst_place: str) -> Spread:
    found = [
        (record.seed, first, second)
        for record in records
        if (first := record.values.get(place)) is not None
        and (second := record.values.get(worst_place)) is not None
    ]
    seeds, primary, worst = zip(*found, strict=True) if found else ((), (), ())
    return Spread(seeds, primary, worst)
