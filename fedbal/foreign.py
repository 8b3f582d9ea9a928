"""Flower strategies that are not fedbal's own: construction, seeded sampling, state for checkpoints."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message
from flwr.serverapp.strategy import Strategy

from fedbal.errors import UsageError
from fedbal.protocol import Arrays, to_arrays, to_record
from fedbal.seeding import integer
from strategies.base import AggregationRule
from strategies.validation import Validated, signature, validate

_ARRAY = (np.ndarray, np.generic)

ONE_NODE_IS_ENOUGH = {"min_train_nodes": 1, "min_evaluate_nodes": 1, "min_available_nodes": 1}
"""The round loop offers exactly the cohort; Flower's minimum of two would block a cohort of one."""


def with_defaults(strategy: type[Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Add the arguments that let a stock strategy take every node that it is offered."""
    if not (inspect.isclass(strategy) and issubclass(strategy, Strategy)):
        raise UsageError(
            f"{strategy!r} is not a Flower strategy (a subclass of flwr.serverapp.strategy.Strategy)."
        )
    if issubclass(strategy, AggregationRule):
        return dict(arguments)
    accepted: set[str] = set()
    for base in strategy.__mro__:
        if "__init__" in vars(base):
            accepted |= set(inspect.signature(vars(base)["__init__"]).parameters)
    defaults = {key: value for key, value in ONE_NODE_IS_ENOUGH.items() if key in accepted}
    return {**defaults, **arguments}


@contextmanager
def seeded_sampling(seed: int, server_round: int) -> Iterator[None]:
    """Seed Python's global generator for a stock strategy that samples with it, then put it back."""
    before = random.getstate()
    random.seed(integer(seed, "foreign-sampling", server_round))
    try:
        yield
    finally:
        random.setstate(before)


def keep_valid(
    replies: Iterable[Message], current: Arrays, server_round: int
) -> tuple[list[Message], Validated]:
    """Validate replies for a strategy that does not do it itself."""
    messages = list(replies)
    validated = validate(messages, signature(current), server_round)
    good = {reply.node for reply in validated.replies}
    kept = [message for message in messages if message.metadata.src_node_id in good and message.has_content()]
    return sorted(kept, key=lambda message: message.metadata.src_node_id), validated


def state_of(strategy: Strategy) -> dict[str, np.ndarray[Any, Any]]:
    """Return a strategy's state between rounds as named arrays.

    fedbal's rules say themselves what it is; of a stock strategy every attribute is taken that is an array
    record, an array, a mapping or list of arrays, or plain JSON.
    """
    if isinstance(strategy, AggregationRule):
        return dict(strategy.state_dict())
    state: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in vars(strategy).items():
        state.update(_flatten(name, value))
    return state


def restore_state(strategy: Strategy, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Give a strategy back what :func:`state_of` returned."""
    if isinstance(strategy, AggregationRule):
        strategy.load_state_dict(state)
        return
    groups: dict[tuple[str, str], dict[str, np.ndarray[Any, Any]]] = {}
    for key, value in state.items():
        name, kind, item = key.split("|", 2)
        groups.setdefault((name, kind), {})[item] = value
    for (name, kind), items in groups.items():
        setattr(strategy, name, _RESTORE[kind](items))


def _flatten(name: str, value: Any) -> dict[str, np.ndarray[Any, Any]]:
    if isinstance(value, ArrayRecord):
        return _named(name, "record", to_arrays(value))
    # Arithmetic on an array without dimensions leaves a numpy scalar.
    if isinstance(value, _ARRAY):
        return _named(name, "array", {"": value})
    if isinstance(value, dict) and value and all(isinstance(item, _ARRAY) for item in value.values()):
        return _named(name, "dict", value)
    if isinstance(value, list) and value and all(isinstance(item, _ARRAY) for item in value):
        return _named(name, "list", {f"{i:08d}": item for i, item in enumerate(value)})
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        return {}
    return _named(name, "json", {"": np.frombuffer(text.encode(), np.uint8)})


def _named(name: str, kind: str, items: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    if not items:
        return {f"{name}|{kind}-empty|": np.zeros(0, np.uint8)}
    return {f"{name}|{kind}|{item}": np.asarray(value) for item, value in items.items()}


_RESTORE = {
    "record": to_record,
    "record-empty": lambda items: ArrayRecord(),
    "array": lambda items: items[""],
    "dict": dict,
    "list": lambda items: [items[key] for key in sorted(items)],
    "json": lambda items: json.loads(items[""].tobytes().decode()),
}
