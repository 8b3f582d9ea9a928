"""The federation of sites with data of their own, as their coordinator knows it: sizes, names, counts; no rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from fedbal.data.dataset import Dataset, IntArray, Scaling
from fedbal.data.federation import Federation, Shards, load_federation
from fedbal.data.params import DataBlock
from fedbal.deployment.order import Report, Seat
from fedbal.errors import FedbalError, RunError
from fedbal.scenario import Scenario


@dataclass(frozen=True)
class ReportedFederation(Federation):
    """A federation whose rows are elsewhere.

    Attributes
    ----------
    told : IntArray, optional
        ``(clients, classes)`` training rows; None: not every site allows that they be told.
    """

    told: IntArray | None = None

    @property
    def counted_classes(self) -> tuple[str, ...]:
        """Classes that rows are counted by; none where a site keeps its counts."""
        return () if self.told is None else self.dataset.classes

    def label_counts(self, *, clean: bool = False) -> IntArray:
        """Return the training rows per client and class as the sites told them; no column if one does not."""
        return np.zeros((self.num_clients, 0), np.int64) if self.told is None else self.told.copy()

    def class_counts(self, *, clean: bool = False) -> IntArray:
        """Return the training rows of each class over all clients."""
        counts: IntArray = self.label_counts().sum(axis=0)
        return counts


def seats_for(reports: Mapping[str, Report], scenario: Scenario) -> dict[str, Seat]:
    """Return the seat of every site: the classes of all of them, and what their rows must look like.

    The scenario's own data decide where this machine has them, else ``data.classes``, else all classes that any
    site has, sorted.

    Raises
    ------
    RunError
        Sites differ in what cannot be reconciled; the message says who and in what.
    """
    known = _here(scenario)
    first, example = next(iter(sorted(reports.items())))
    features, shape = (
        (example.features, example.shape) if known is None else (known.features, known.input_shape)
    )
    for name, report in sorted(reports.items()):
        other = f"{first} has" if known is None else "the scenario's data have"
        for what, own, wanted in (
            ("columns", report.features, features),
            ("input shape", report.shape, shape),
            ("type", (report.dtype,), (example.dtype if known is None else str(known.x.dtype),)),
        ):
            if tuple(own) != tuple(wanted):
                raise RunError(
                    f"{name} has the {what} {_shown(own)}, {other} {_shown(wanted)}; store them alike."
                )
    classes = getattr(scenario.data, "classes", None) if known is None else known.classes
    if classes is None:
        classes = sorted({label for report in reports.values() for label in report.classes})
    seat = Seat(-1, tuple(classes), tuple(features), tuple(shape))
    return dict.fromkeys(reports, seat)


def reported_federation(reports: Mapping[str, Report], scenario: Scenario) -> ReportedFederation:
    """Return what is known of the sites' data, clients in the order of their names.

    Test rows are the scenario's own where this machine has them, else there are none.
    """
    names = sorted(reports)
    first = reports[names[0]]
    known = _here(scenario)
    told = [reports[name].counts for name in names]
    # What a site keeps because it is small counts as nothing: groups and tables know at least so many rows.
    counts = np.array([[count or 0 for count in one or ()] for one in told], np.int64) if all(told) else None
    sizes = np.array(
        [[reports[name].samples, reports[name].validation, reports[name].test] for name in names], np.int64
    )
    # One row that stands for all: only their number is ever read.
    row = np.zeros((1, *first.shape), first.dtype)
    rows = int(sizes.sum())
    empty = np.zeros((0, *first.shape), first.dtype)
    dataset = Dataset(
        name=str(type(scenario.data).model_fields["dataset"].default),
        x=np.broadcast_to(row, (rows, *first.shape)),
        y=np.zeros(rows, np.int64),
        x_test=empty if known is None else known.x_test,
        y_test=np.zeros(0, np.int64) if known is None else known.y_test,
        classes=first.classes,
        scaling=Scaling(255.0) if first.dtype == "uint8" else Scaling(),
        features=first.features,
        source=", ".join(names),
    )
    starts = np.concatenate([[0], np.cumsum(sizes.ravel())[:-1]]).reshape(sizes.shape)
    train, validation, test = (_shards(starts[:, kind], sizes[:, kind]) for kind in range(3))
    content = json.dumps({name: asdict(reports[name]) | {"versions": None} for name in names}, sort_keys=True)
    origin = hashlib.sha256(content.encode()).hexdigest()
    return ReportedFederation(dataset, train, validation, test, tuple(names), origin=origin, told=counts)


def _shards(starts: IntArray, sizes: IntArray) -> Shards:
    rows = [
        np.arange(start, start + size) for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
    ]
    return Shards(np.concatenate(rows), np.concatenate([[0], np.cumsum(sizes)]))


def _here(scenario: Scenario) -> Dataset | None:
    """Return the scenario's own data if this machine has them."""
    block = scenario.data
    assert isinstance(block, DataBlock)
    try:
        return load_federation(block, scenario.seed.partition).dataset
    except FedbalError:
        return None


def _shown(values: Sequence[object]) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return f"({shown}{', ...' if len(values) > 8 else ''})"
