"""The sides of a comparison: from names and blocks to labels and changes of the scenario."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedbal.api import texts
from fedbal.comparison.block import REFERENCES, CompareBlock, Variant
from fedbal.comparison.records import Method
from fedbal.components import Component
from fedbal.errors import UsageError
from fedbal.registry import is_reference
from fedbal.scenario import Scenario
from strategies import STRATEGIES

RIVALS: Mapping[str, tuple[str, ...]] = {
    "fedavg": ("fedprox", "feddisco", "fednova"),
    "feddisco": ("fedprox", "fednova"),
    "fedprox": ("fednova", "scaffold"),
    "uniform": ("feddisco", "fednova"),
    "fedavgm": ("fedadam", "feddyn"),
    "fedadam": ("fedavgm", "fedyogi"),
    "fedyogi": ("fedadam", "fedavgm"),
    "fedadagrad": ("fedadam", "fedavgm"),
    "fednova": ("fedprox", "scaffold"),
    "scaffold": ("feddyn", "fednova"),
    "feddyn": ("scaffold", "fedprox"),
    "moon": ("fedprox", "feddyn"),
    "qfedavg": ("uniform", "fedprox"),
    "fedbr": ("moon", "fedprox"),
    "fedce": ("uniform", "fedprox"),
}
"""What a rule is compared with, besides FedAvg, where nobody says: others that answer the same problem."""

BOUNDS = ("local_only", "centralised", "fedavg_finetuned")
"""Rules that are no rivals: they show what federation is worth."""
PERSONAL = ("local_only", "fedavg_finetuned")
"""Rules whose result is each client's own model."""


def of_variants(variants: Iterable[Variant], own: Component) -> tuple[Method, ...]:
    """Return the methods that a ``compare`` block names."""
    methods = []
    for variant in variants:
        overrides: list[str] = []
        label = _plain_name(own.name) if variant.strategy is None else _label(variant.strategy)
        if variant.strategy is not None and (variant.strategy.name != own.name or _given(variant.strategy)):
            overrides += texts({"strategy": _short(variant.strategy)})
        overrides += texts(variant.set)
        if variant.set:
            label = f"{label}, {', '.join(change(key, value) for key, value in variant.set.items())}"
        methods.append(Method((variant.label or label)[:60], tuple(overrides)))
    return tuple(methods)


def by_default(scenario: Scenario) -> tuple[Method, ...]:
    """Return FedAvg, the scenario's own rule and rivals of it that fit its task."""
    own = scenario.strategy
    names = [
        "fedavg",
        *([] if own.name in BOUNDS else [own.name]),
        *RIVALS.get(own.name, ("fedprox", "feddisco")),
    ]
    task = scenario.data.task if hasattr(scenario.data, "task") else "classification"
    fitting = [
        name
        for name in dict.fromkeys(names)
        if is_reference(name) or task in STRATEGIES.params_model(name)().for_tasks()
    ]
    return tuple(_named(name, own) for name in fitting)


def fedavg(own: Component) -> Method:
    """Return FedAvg as a method, for comparisons that do not name it."""
    return _named("fedavg", own)


def of_references(block: CompareBlock, methods: Sequence[Method], personal: str) -> tuple[Method, ...]:
    """Return the reference rows that are not compared themselves.

    Parameters
    ----------
    block : CompareBlock
        Which of them are wanted.
    methods : sequence of Method
        What is compared.
    personal : str
        Place of the primary outcome of rows whose result is each client's own model; empty if there is none.
    """
    wanted = block.references
    names: Sequence[str] = wanted if isinstance(wanted, list) else REFERENCES if wanted else ()
    compared = {method.label for method in methods}
    return tuple(
        Method(
            name, tuple(texts({"strategy": name})), reference=True, tests=personal if name in PERSONAL else ""
        )
        for name in dict.fromkeys(names)
        if name in STRATEGIES and name not in compared
    )


def spread(methods: Sequence[Method], key: str, values: Sequence[Any]) -> tuple[Method, ...]:
    """Make one method of each value of a key of the rule, of those methods that have the key.

    ``strategy.mu`` over 0.1 and 1 makes two methods of FedProx and leaves FedAvg as it is.
    """
    made: list[Method] = []
    for method in methods:
        for value in values:
            made.append(
                replace(
                    method,
                    label=f"{method.label} {change(key, value)}",
                    overrides=(*method.overrides, *texts({key: value})),
                )
            )
    return tuple(made)


def require_unique(methods: Sequence[Method]) -> None:
    """Refuse two methods of the same name."""
    labels = [method.label for method in methods]
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            raise UsageError(
                f"two sides of the comparison are called {label!r}; give one of them another `label`."
            )


def _named(name: str, own: Component) -> Method:
    return Method(_plain_name(name), () if name == own.name else tuple(texts({"strategy": name})))


def _plain_name(name: str) -> str:
    """Return a rule's name; of one of the user's own its class."""
    return name.rpartition(":")[2] if is_reference(name) else name


def _short(rule: Component) -> Any:
    """Return a rule as it was written: its name, or its name and parameters."""
    given = _given(rule)
    return {"name": rule.name, **given} if given else rule.name


def _given(rule: Component) -> dict[str, Any]:
    """Return the parameters that were written, not those that defaults filled in."""
    written: set[str] = getattr(rule, "model_fields_set", set())
    dumped = rule.model_dump(mode="json", exclude_none=True)
    return {key: value for key, value in dumped.items() if key != "name" and key in written}


def _label(rule: Component) -> str:
    changes = ", ".join(change(key, value) for key, value in _given(rule).items())
    return f"{_plain_name(rule.name)} {changes}".strip()


def change(key: str, value: Any) -> str:
    """Write a change for a label: ``mu=1``, ``loss=focal (gamma 2)``, ``data.partition.alpha=0.1``."""
    shown = Path(value).name if isinstance(value, str) and "/" in value else value
    if isinstance(shown, Mapping):
        inside = ", ".join(f"{name} {item}" for name, item in shown.items() if name != "name")
        shown = f"{shown.get('name', '')}{f' ({inside})' if inside else ''}".strip()
    return f"{key.removeprefix('client.').removeprefix('strategy.')}={shown}"
