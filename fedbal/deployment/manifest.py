"""What a run asks of a site: everything that leaves it, in one list with a hash that a person can agree to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from clients import LOSSES, UPDATES
from clients.base import ClientUpdate
from clients.preprocess import DISCLOSURES
from fedbal import __version__, protocol
from fedbal.deployment.bundle import identity
from fedbal.deployment.items import (
    CLASS_COUNTS,
    EVALUATION,
    JOIN,
    JOINING,
    MODEL,
    SAMPLES,
    SCORES,
    TRAIN_LOSS,
    TRAINING,
    Item,
)
from fedbal.fingerprints import of_code
from fedbal.foreign import with_defaults
from fedbal.measures.classification import Classification
from fedbal.measures.segmentation import Segmentation
from fedbal.params import CustomParams
from fedbal.protocol import Disclosure
from fedbal.scenario import Scenario
from fedbal.virtual import create
from strategies import STRATEGIES
from strategies.base import AggregationRule, needs_of
from strategies.scaffold import Scaffold

SUMMED = frozenset({protocol.CONTROL_DELTA, "histogram"})
"""Declared items of which a server needs no more than the sum over its clients."""
_SIZES = {
    protocol.FP32: "as large as the model",
    protocol.FP16: "half as large as the model",
    protocol.INT8: "a quarter as large as the model",
}


@dataclass(frozen=True)
class Manifest:
    """What a run asks of a site.

    Attributes
    ----------
    scenario, rule : str
        Names, for people.
    identity : str
        SHA-256 of the scenario, deadlines left out.
    version, code : str
        Of the installed fedbal: its version, and the SHA-256 of its modules and of a user's own components.
    items : tuple of Item
        Everything that leaves a site.
    summed : bool
        Whether the rule could live with secure aggregation.
    plain : dict
        The scenario itself, so that a change can be named.
    """

    scenario: str
    rule: str
    identity: str
    version: str
    code: str
    items: tuple[Item, ...]
    summed: bool
    plain: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, scenario: Scenario) -> Self:
        """Return the manifest of a scenario as it is deployed; no data are read.

        Raises
        ------
        UsageError
            A component refuses its parameters or is not installed here.
        """
        rule = _rule(scenario)
        items = tuple(_items(scenario, rule))
        summed = _averages(rule) and all(item.summed for item in items if item.why == TRAINING)
        if not summed:
            items = tuple(replace(item, summed=False) if item.name == MODEL else item for item in items)
        plain = {key: value for key, value in scenario.resolved().items() if key != "deployment"}
        code = of_code(_own_files(scenario))
        name = scenario.strategy.name
        return cls(scenario.name, name, identity(scenario), __version__, code, items, summed, plain)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values: what :meth:`to_json` writes and the hash is of."""
        return asdict(self)

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no blanks, ASCII."""
        return json.dumps(self.to_plain(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_plain` returned; raises ``KeyError`` or ``TypeError`` for anything else."""
        return cls(**{**values, "items": tuple(Item(**item) for item in values["items"])})

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def names(self) -> frozenset[str]:
        """Names of everything that may leave."""
        return frozenset(item.name for item in self.items)

    def lines(self) -> list[str]:
        """Return the manifest as a person reads it, and its hash."""
        could = "could live" if self.summed else "could not live"
        return [
            f"scenario {self.scenario}, rule {self.rule}, fedbal {self.version}; what leaves this site:",
            *(
                f"  {item.name}: {item.size}, {item.frequency}; {item.privacy}"
                f"{' (a sum over sites would do)' if item.summed else ''}"
                for item in self.items
            ),
            f"  The rule {could} with secure aggregation; there is none here, the coordinator sees every item.",
            f"manifest {self.hash}",
        ]


def changes(before: Manifest, now: Manifest) -> list[str]:
    """Return in words what differs between two manifests."""
    found = []
    if before.version != now.version:
        found.append(f"fedbal {before.version} became {now.version}")
    elif before.code != now.code:
        found.append("the installed code is another")
    old, new = ({item.name: item for item in one.items} for one in (before, now))
    found += [f"{name} would be sent too" for name in new if name not in old]
    found += [f"{name} would not be sent any more" for name in old if name not in new]
    found += [f"{name} is described otherwise" for name in new if name in old and old[name] != new[name]]
    if before.identity != now.identity:
        first, second = dict(_leaves(before.plain)), dict(_leaves(now.plain))
        keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
        found += [
            f"{key} was {_shown(first.get(key))} and is {_shown(second.get(key))}" for key in sorted(keys)
        ]
    return found or ["nothing that a person would notice"]


def _leaves(values: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        yield where, values
        return
    for key, value in values.items():
        yield from _leaves(value, f"{where}.{key}" if where else str(key))


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)[:60]


def _items(scenario: Scenario, rule: object) -> Iterator[Item]:
    every = "every round the client takes part in"
    joined = "when it joins, and again after a connection was lost"
    yield Item(
        *(JOIN, "about 1 kB", joined),
        "name, versions and partition; with own data also class names, columns, input shape and the number of rows",
        summed=False,
        why=JOINING,
    )
    yield Item(
        *(CLASS_COUNTS, "a few bytes a class", f"{joined}, with own data only"),
        "how many training rows of each class the site has; numbers below 10 are left out unless it allows them",
        summed=False,
        why=JOINING,
    )
    size = _SIZES[scenario.client.codec]
    yield Item(
        MODEL, size, every, "the trained model; it may reveal training rows", summed=True, why=TRAINING
    )
    yield Item(SAMPLES, "8 bytes", every, "how many rows the client trains on", summed=True, why=TRAINING)
    yield Item(TRAIN_LOSS, "8 bytes", every, "mean training loss of the round", summed=True, why=TRAINING)
    update: ClientUpdate = create(UPDATES, scenario.client.update, create(LOSSES, scenario.client.loss))
    named: dict[str, Disclosure] = {}
    for one in (*_of_rule(rule), *update.discloses, *getattr(update.criterion, "discloses", ())):
        named.setdefault(one.name, one)
    for one in named.values():
        yield _item(one, TRAINING)
    for one in _statistics(scenario):
        yield _item(one, TRAINING)
    yield Item(
        *(SCORES, "24 bytes", "every evaluation"),
        "how many test rows the client has and how well the model does on them",
        summed=False,
        why=EVALUATION,
    )
    measures = Classification if scenario.data.task == "classification" else Segmentation
    for one in measures.discloses:
        yield _item(one, EVALUATION)


def _item(one: Disclosure, why: str) -> Item:
    return Item(one.name, one.size, one.frequency, one.privacy, one.name in SUMMED, why)


def _of_rule(rule: object) -> Iterable[Disclosure]:
    return rule.manifest if isinstance(rule, AggregationRule) else ()


def _statistics(scenario: Scenario) -> Iterator[Disclosure]:
    """Return what preparation of rows asks for."""
    chosen = scenario.data.preprocess
    if chosen is None or chosen.impute == chosen.scale == "none":
        return
    asked = {"transform"} if chosen.fit == "client" else {"moments"}
    if chosen.fit == "federated" and chosen.impute == "median":
        asked.add("histogram")
    yield from (one for one in DISCLOSURES if one.name in asked)


def _rule(scenario: Scenario) -> object:
    choice = scenario.strategy
    if isinstance(choice, CustomParams):
        arguments = with_defaults(STRATEGIES.load(choice.name), choice.kwargs())
        choice = CustomParams(name=choice.name, **arguments)
    return create(STRATEGIES, choice)


def _averages(rule: object) -> bool:
    """Tell whether a rule reads no client's model or record by itself: sums would do, once weights are known."""
    if isinstance(rule, Scaffold):
        return rule.weigher.needs == "scalars"
    return isinstance(rule, AggregationRule) and needs_of(rule) == "scalars"


def _own_files(scenario: Scenario) -> list[Path]:
    client = scenario.client
    parts = (scenario.strategy, scenario.model, client.update, client.loss, client.optimizer)
    named = [part.name for part in parts if isinstance(part, CustomParams)]
    return [Path(name.rpartition(":")[0]) for name in named if ".py:" in name]
