"""The server's side of imputation and scaling: asks clients for statistics before the first round and merges them.

One query brings mergeable moments, a second one, if missing values become medians, histograms over the range that
the first one found. With ``fit: client`` nothing is merged for training: the count-weighted mean of the clients'
own transforms prepares test rows of no known client, and clients without training rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Self

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from clients.data import ByClient
from clients.preprocess import BINS, Moments, Preprocess, Transform, medians
from fedbal import protocol
from fedbal.errors import RunError
from fedbal.population import Population
from fedbal.protocol import STATISTICS, Arrays, to_arrays, to_record
from fedbal.task import Preparation

QUERY = f"query.{STATISTICS}"
LISTED = 10


@dataclass
class Fitted:
    """What the clients' statistics came to.

    Attributes
    ----------
    transform : Transform
        What clients and the global test set are prepared with.
    clients : int
        Clients whose statistics are in it.
    bytes_up, bytes_down : int
        Content of all replies and queries.
    notes : list of str
        Who did not answer, which features nobody has.
    own : dict of int to Transform
        With ``fit: client``, what each client asked for prepares its rows with.
    """

    transform: Transform
    clients: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    notes: list[str] = field(default_factory=list)
    own: dict[int, Transform] = field(default_factory=dict)

    def of_test(self, owner: NDArray[np.int64] | None) -> Transform | ByClient:
        """Return what prepares the global test set.

        Parameters
        ----------
        owner : ndarray, optional
            ``(n,)`` client of each test row where the data know it, -1 for one that never trains. With
            ``fit: client`` such a row is prepared by its client's own statistics, as it would be there.
        """
        if owner is None or not self.own:
            return self.transform
        each = {client: self.own.get(client, self.transform) for client in np.unique(owner).tolist()}
        return ByClient(each, owner)

    def record(self) -> ArrayRecord:
        """Return what travels with every message."""
        return to_record(self.transform.arrays())

    @property
    def preparation(self) -> Preparation:
        """What a model needs in front of it wherever it is used."""
        values = self.transform
        return Preparation(*(tuple(each.tolist()) for each in (values.fill, values.shift, values.scale)))

    def to_json(self) -> str:
        """Return every number exactly, for the run directory."""
        own = {str(client): _plain(transform) for client, transform in self.own.items()}
        values = {**vars(self), "transform": _plain(self.transform), "own": own}
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` returned."""
        values = json.loads(text)
        own = {int(client): _transform(arrays) for client, arrays in values.pop("own").items()}
        return cls(_transform(values.pop("transform")), own=own, **values)


def fit(
    grid: Grid, plan: Preprocess, population: Population, num_features: int, timeout: float | None
) -> Fitted:
    """Ask every client that trains for its statistics and merge them in client order.

    Parameters
    ----------
    grid : Grid
        Where messages go.
    plan : Preprocess
        What is asked for.
    population : Population
        Whom to ask.
    num_features : int
        Columns of a vector, channels of an image.
    timeout : float, optional
        Seconds to wait for replies.

    Raises
    ------
    RunError
        No client answers properly.
    """
    asking = _Asking(grid, population, timeout)
    if plan.fit == "client":
        own = asking.ask("transform", {}, lambda arrays: _own_transform(arrays, num_features))
        fitted = Fitted(mean_transform(own.values()), len(own), own=own)
    else:
        moments = asking.ask("moments", {}, lambda arrays: _moments(arrays, num_features))
        merged = reduce(Moments.merge, moments.values())
        middle = None
        if plan.impute == "median":
            seen = merged.count > 0
            bounds = {
                "lowest": np.where(seen, merged.lowest, 0.0),
                "highest": np.where(seen, merged.highest, 0.0),
            }
            counted = asking.ask("histogram", bounds, lambda arrays: _histogram(arrays, num_features))
            middle = medians(reduce(np.add, counted.values()), bounds["lowest"], bounds["highest"])
        fitted = Fitted(plan.transform(merged, middle), len(moments))
    fitted.bytes_up, fitted.bytes_down, fitted.notes = asking.bytes_up, asking.bytes_down, asking.notes
    if empty := [_name(plan, i) for i in np.flatnonzero(fitted.transform.count == 0).tolist()]:
        fitted.notes.append(f"no training row has a value of {_listed(empty)}; it counts as 0 throughout")
    return fitted


def mean_transform(transforms: Iterable[Transform]) -> Transform:
    """Return the mean of transforms, each feature weighted by its observed values."""
    parts = list(transforms)
    counts = np.stack([part.count for part in parts])
    total = counts.sum(axis=0)
    weights = np.where(total > 0, counts / np.maximum(total, 1), 1.0 / len(parts))
    fill, shift, scale = (
        (weights * np.stack([getattr(part, name) for part in parts])).sum(axis=0)
        for name in ("fill", "shift", "scale")
    )
    return Transform(fill, shift, scale, total)


class _Asking:
    """Sends one query after another, counts bytes, leaves out who does not answer properly."""

    def __init__(self, grid: Grid, population: Population, timeout: float | None) -> None:
        self._grid = grid
        self._population = population
        self._timeout = timeout
        self.bytes_up = 0
        self.bytes_down = 0
        self.notes: list[str] = []

    def ask(self, what: str, arrays: Arrays, decode: Any) -> dict[int, Any]:
        """Return the decoded answers by client, in client order."""
        content = RecordDict({protocol.CONFIG: ConfigRecord({STATISTICS: what})})
        if arrays:
            content[STATISTICS] = to_record(arrays)
        messages = [Message(content, node, QUERY, group_id="0") for node in self._population.nodes]
        replies = {reply.metadata.src_node_id: reply for reply in self._send(messages)}
        self.bytes_down += len(messages) * protocol.num_bytes(content)
        answers: dict[int, Any] = {}
        failed = []
        for node in self._population.nodes:
            reply, client = replies.get(node), self._population.client(node)
            try:
                if reply is None or reply.has_error():
                    raise ValueError("no reply" if reply is None else reply.error.reason)
                self.bytes_up += protocol.num_bytes(reply.content)
                answers[client] = decode(to_arrays(reply.content.array_records[STATISTICS]))
            except (ValueError, TypeError, KeyError) as error:
                failed.append(f"{self._population.keys(client)} ({error})")
        if not answers:
            raise RunError(f"no client answers the query for {what}: {_listed(failed)}.")
        if failed:
            self.notes.append(f"statistics ({what}) without {_listed(failed)}")
        return answers

    def _send(self, messages: list[Message]) -> Iterable[Message]:
        return self._grid.send_and_receive(messages, timeout=self._timeout)


def _moments(arrays: Arrays, num_features: int) -> Moments:
    names = ("count", "total", "squares", "lowest", "highest")
    _require(arrays, names, (num_features,))
    count = arrays["count"].astype(np.int64)
    values = {name: arrays[name].astype(np.float64) for name in names[1:]}
    seen = count > 0
    if (count < 0).any() or not all(np.isfinite(value[seen]).all() for value in values.values()):
        raise ValueError("counts must be >= 0 and statistics finite")
    if (values["lowest"] > values["highest"])[seen].any() or (values["squares"] < 0.0).any():
        raise ValueError("the smallest value exceeds the largest, or a spread is negative")
    return Moments(count, *values.values())


def _histogram(arrays: Arrays, num_features: int) -> Any:
    _require(arrays, ("histogram",), (num_features, BINS))
    if (arrays["histogram"] < 0).any():
        raise ValueError("counts must be >= 0")
    return arrays["histogram"].astype(np.int64)


def _own_transform(arrays: Arrays, num_features: int) -> Transform:
    _require(arrays, ("fill", "shift", "scale", "count"), (num_features,))
    return Transform.of(arrays)


def _require(arrays: Mapping[str, Any], names: tuple[str, ...], shape: tuple[int, ...]) -> None:
    if set(arrays) != set(names) or any(value.shape != shape for value in arrays.values()):
        found = {name: value.shape for name, value in arrays.items()}
        raise ValueError(f"expected {', '.join(names)} of shape {shape}, got {found}")


def _plain(transform: Transform) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in transform.arrays().items()}


def _transform(values: Mapping[str, list[float]]) -> Transform:
    return Transform.of({name: np.array(value) for name, value in values.items()})


def _name(plan: Preprocess, feature: int) -> str:
    return plan.features[feature] if plan.features else str(feature)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
