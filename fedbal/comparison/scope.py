"""What a comparison's verdicts hold for, in one sentence: data, skew, model, clients, and what the seed varied."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedbal.comparison.records import Protocol

AXES = {
    "partition": ("the division of the data",),
    "init": ("the initial model",),
    "training": ("cohorts", "minibatches"),
}
SMALL = ("min_size", "size_guard", "order", "rare_share")
"""Parameters that a sentence can do without."""
SKEWS = ("quantity", "feature_shift", "label_noise")
SYNTHETIC = ("alpha", "beta", "iid", "clients", "sites", "noisy_sites", "small_sites")


def scope(scenario: Mapping[str, Any], protocol: Protocol) -> str:
    """Say what the verdicts hold for.

    Parameters
    ----------
    scenario : mapping
        The base scenario with every default filled in.
    protocol : Protocol
        Data sets and what the seed varies.
    """
    data = scenario["data"]
    parts = [
        _data(data),
        _skew(data),
        _named("model", scenario["model"]),
        _cohort(scenario),
        _systems(scenario["systems"]),
        _variations(protocol.datasets),
    ]
    varied = [text for axis, texts in AXES.items() if axis in protocol.seed_axes for text in texts]
    held = ", ".join(part for part in parts if part)
    seeds = f"over seeds, {_and(varied)} varied"
    return f"This holds for {held}; {seeds}. It says nothing of other data or another skew."


def _data(data: Mapping[str, Any]) -> str:
    name = f"the {data['dataset']} data"
    if data.get("path"):
        name = f"the data of {Path(str(data['path'])).name}"
    own = {key: data[key] for key in SYNTHETIC if key in data}
    return f"{name}{_inside(own)}"


def _skew(data: Mapping[str, Any]) -> str:
    parts = []
    partition = data["partition"]
    if partition["name"] == "natural_id":
        column = partition.get("partition_by") or "client"
        parts.append("its own clients" if column == "client" else f"one client a {column}")
    else:
        parameters = {
            key: value for key, value in partition.items() if key not in (*SMALL, "name", "clients")
        }
        parts.append(
            f"divided over {partition['clients']} clients by {partition['name']}{_inside(parameters)}"
        )
    if tail := data.get("long_tail"):
        factor = tail.get("imbalance_factor")
        parts.append(f"a long tail ({tail['profile']}{'' if factor is None else f', factor {factor:g}'})")
    parts += [_named(key.replace("_", " "), data[key]) for key in SKEWS if data.get(key)]
    return ", ".join(parts)


def _cohort(scenario: Mapping[str, Any]) -> str:
    cohort, client = scenario["cohort"], scenario["client"]
    partition = scenario["data"]["partition"]
    size, fraction, clients = cohort.get("size"), cohort.get("fraction"), partition.get("clients")
    if size is not None:
        who = f"{size} clients a round"
    elif fraction == 1.0:
        who = "all clients in every round"
    elif clients is not None:
        who = f"about {max(1, math.floor(fraction * clients + 0.5))} of {clients} clients a round"
    else:
        who = f"{100 * fraction:g} % of the clients a round"
    epochs, steps = client.get("local_epochs"), client.get("local_steps")
    work = (
        f"{steps} local step{'s' * (steps != 1)}"
        if epochs is None
        else f"{epochs} local epoch{'s' * (epochs != 1)}"
    )
    return f"{who}, {scenario['rounds']} rounds of {work}"


def _systems(systems: Mapping[str, Any]) -> str:
    stragglers, dropout = systems["stragglers"], systems["client_dropout"]
    parts = []
    if stragglers["fraction"]:
        parts.append(f"{100 * stragglers['fraction']:g} % stragglers ({stragglers['policy']})")
    if dropout:
        parts.append(f"{100 * dropout:g} % dropouts")
    return ", ".join(parts)


def _variations(datasets: Iterable[str]) -> str:
    named = [label for label in datasets if label]
    return f"each with {'; '.join(named)}" if named else ""


def _named(kind: str, block: Mapping[str, Any]) -> str:
    name = str(block.get("name", "")).rpartition("/")[2]
    rest = {key: value for key, value in block.items() if key != "name"}
    return f"{kind} {name}".strip() + _inside(rest)


def _inside(parameters: Mapping[str, Any]) -> str:
    shown = [
        f"{key.replace('_', ' ')} {_value(value)}"
        for key, value in parameters.items()
        if value not in (None, False, [])
    ]
    return f" ({', '.join(shown)})" if shown else ""


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "-".join(_value(item) for item in value)
    return str(value)


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
