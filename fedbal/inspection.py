"""A first look at a user's data: classes, gaps, duplicates, small clients, columns that say too much or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedbal.data.categorical import MOST_LEVELS
from fedbal.data.columns import identities
from fedbal.data.dataset import AnyArray, IntArray
from fedbal.data.labels import encode
from fedbal.data.table_columns import MISSING, numbers
from fedbal.errors import UsageError
from fedbal.leakage import giveaway, partly
from fedbal.registry import unknown_name
from fedbal.sources import Source

TEST = 0.2
VALIDATION = 0.1
CLIENT_TEST = 0.2
MIN_TEST = 30
"""Shares that the scenario is written with, and the test samples from which on a client is judged."""
MOST_CLASSES = 100
LABEL_NAMES = ("label", "class", "target", "y", "diagnosis", "outcome", "category", "activity", "num")
GROUP_NAMES = ("patient", "subject", "person", "participant", "animal", "lesion", "window", "visit")
CLIENT_NAMES = (
    "client",
    "hospital",
    "site",
    "center",
    "centre",
    "user",
    "device",
    "bank",
    "school",
    "region",
)


@dataclass(frozen=True)
class Duplicates:
    """Rows that repeat another row's features."""

    within: int
    """Rows that repeat an earlier row of their own client."""
    across: int
    """Rows whose features another client holds too."""
    conflicting: int
    """Rows that repeat another row under another label."""


@dataclass(frozen=True)
class Columns:
    """What the columns beside label and client are, each of the others with the evidence."""

    features: list[str] = field(default_factory=list)
    """Left to learn from."""
    leaks: dict[str, str] = field(default_factory=dict)
    """Give the label away."""
    constant: dict[str, str] = field(default_factory=dict)
    """Never change."""
    ids: dict[str, str] = field(default_factory=dict)
    """Identify rows."""
    texts: dict[str, str] = field(default_factory=dict)
    """Hold texts that are no categories."""
    groups: dict[str, str] = field(default_factory=dict)
    """Name a patient, a lesion, ...: whatever has several rows that belong on one side of a split."""
    categories: dict[str, int] = field(default_factory=dict)
    """Features that hold texts, with their number of levels."""
    suspicious: dict[str, str] = field(default_factory=dict)
    """Tell one of several classes from all others; learned from all the same."""


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes
    ----------
    source : Source
        The data.
    label : str
        Label column.
    client : str, optional
        Client column.
    classes : dict of str to int
        Rows of each class, in label order.
    missing : dict of str to int
        Missing values of each feature column that has some.
    clients : dict of str to int
        Rows of each client; empty without a client column.
    too_small : dict of str to int
        Expected test samples of the clients below :data:`MIN_TEST`.
    duplicates : Duplicates
        Repeated rows.
    columns : Columns
        What each other column is.
    client_candidates : list of str
        Columns that may name clients, if none was given.
    """

    source: Source
    label: str
    client: str | None
    classes: dict[str, int]
    missing: dict[str, int]
    clients: dict[str, int]
    too_small: dict[str, int]
    duplicates: Duplicates
    columns: Columns
    client_candidates: list[str]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self.classes.values())

    @property
    def imbalance_factor(self) -> float:
        """Rows of the most common class over those of the rarest."""
        return max(self.classes.values()) / min(self.classes.values())


def inspect(source: Source, label: str, client: str | None) -> Inspection:
    """Look at a data source.

    Parameters
    ----------
    source : Source
        What was read.
    label : str
        Label column.
    client : str, optional
        Column that names the client of each row.

    Raises
    ------
    UsageError
        A column does not exist, or cannot be a label or a client.
    """
    raw = _column(source, label, "label column")
    _require_labels(raw, label, source)
    y, _, names = encode(raw, None, None, f"{source.path}: {label}")
    counts = np.bincount(y, minlength=len(names))
    if len(names) > MOST_CLASSES and counts.mean() < 10:
        raise UsageError(
            f"{source.path}: {label!r} has {len(names)} distinct values in {len(y)} rows, which is a number or an "
            f"id rather than a class; {_suggest(source)}"
        )
    owner = np.zeros_like(y)
    clients: dict[str, int] = {}
    if client is not None:
        keys, owner = identities(_column(source, client, "client column"), client)
        clients = dict(zip(keys, np.bincount(owner).tolist(), strict=True))
    features = {name: values for name, values in source.columns.items() if name not in (label, client)}
    columns = Columns() if source.images is not None else _judged(features, y, names)
    compared = [name for name in features if name not in columns.ids and name not in columns.groups]
    return Inspection(
        source=source,
        label=label,
        client=client,
        classes=dict(zip(names, counts.tolist(), strict=True)),
        missing={name: gaps for name, values in features.items() if (gaps := int(_missing(values).sum()))},
        clients=clients,
        too_small={name: tests for name, n in clients.items() if (tests := test_samples(n)) < MIN_TEST},
        duplicates=_duplicates(source.row_keys(compared), y, owner),
        columns=columns,
        client_candidates=[] if client else client_candidates(source, label),
    )


def test_samples(rows: int) -> int:
    """Return how many test samples a client with so many rows will have."""
    return round(CLIENT_TEST * round((1.0 - TEST) * rows))


def label_candidates(source: Source) -> list[tuple[str, int]]:
    """Return columns that may be the label, with their number of values, the likeliest first."""
    found = []
    for name, values in source.columns.items():
        distinct = len(np.unique(values[~_missing(values)]))
        if 2 <= distinct <= max(2, min(50, len(values) // 5)):
            found.append((name, distinct))
    position = {name: index for index, name in enumerate(source.columns)}
    return sorted(found, key=lambda one: (not _named(one[0], LABEL_NAMES), -position[one[0]]))


def client_candidates(source: Source, label: str) -> list[str]:
    """Return columns that may name clients: by their name, with at least two values that repeat."""
    found = []
    for name, values in source.columns.items():
        distinct = len(np.unique(values))
        if name != label and _named(name, CLIENT_NAMES) and 2 <= distinct <= len(values) // 2:
            found.append(name)
    return found


def _named(name: str, known: Sequence[str]) -> bool:
    words = name.lower().replace("-", "_").split("_")
    return any(word in known for word in (*words, words[-1].rstrip("s")))


def _suggest(source: Source) -> str:
    shown = [f"{name} ({count} values)" for name, count in label_candidates(source)[:5]]
    return f"columns that may be the label: {', '.join(shown)}." if shown else "no column looks like a label."


def _column(source: Source, name: str, role: str) -> AnyArray:
    if name not in source.columns:
        raise UsageError(f"{source.path}: {unknown_name(role, name, source.columns)}")
    return source.columns[name]


def _require_labels(raw: AnyArray, label: str, source: Source) -> None:
    gaps = int(_missing(raw).sum())
    if gaps:
        raise UsageError(
            f"{source.path}: {gaps} of {len(raw)} rows have no {label!r}; fill them in or drop these rows first."
        )


def _missing(values: AnyArray) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "U":
        return np.isin(np.char.lower(np.char.strip(values)), MISSING)
    return np.zeros(len(values), dtype=np.bool_)


def _judged(features: Mapping[str, AnyArray], y: IntArray, classes: Sequence[str]) -> Columns:
    found = Columns()
    for name, values in features.items():
        present = ~_missing(values)
        distinct = len(np.unique(values[present]))
        numeric = numbers(values)
        if distinct <= 1:
            found.constant[name] = "has one value only" if distinct else "is empty"
        elif _identifies(present, distinct, numeric):
            found.ids[name] = (
                f"has {distinct} distinct values in {int(present.sum())} rows: it identifies rows"
            )
        elif _named(name, GROUP_NAMES) and 10 <= distinct < int(present.sum()):
            found.groups[name] = f"names {distinct} groups of rows"
        elif evidence := giveaway(values, numeric, present, y):
            found.leaks[name] = evidence
        elif numeric is None and distinct > MOST_LEVELS:
            found.texts[name] = f"holds {distinct} different texts"
        else:
            found.features.append(name)
            if numeric is None:
                found.categories[name] = distinct
            label = partly(numeric, values, present, y)
            if label is not None:
                found.suspicious[name] = f"alone tells class {classes[label]} from all others without error"
    return found


def _identifies(present: NDArray[np.bool_], distinct: int, numeric: AnyArray | None) -> bool:
    rows = int(present.sum())
    if rows < 20 or distinct < 0.9 * rows:
        return False
    if numeric is None:
        return True
    return distinct == rows and bool(np.all(numeric[present] == np.rint(numeric[present])))


def _duplicates(keys: Sequence[bytes], y: IntArray, owner: IntArray) -> Duplicates:
    owners: dict[bytes, set[int]] = defaultdict(set)
    labels: dict[bytes, set[int]] = defaultdict(set)
    within = 0
    for key, label, client in zip(keys, y.tolist(), owner.tolist(), strict=True):
        within += client in owners[key]
        owners[key].add(client)
        labels[key].add(label)
    across = sum(len(owners[key]) > 1 for key in keys)
    return Duplicates(within, across, sum(len(labels[key]) > 1 for key in keys))
