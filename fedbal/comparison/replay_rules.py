"""Which rules can be replayed on recorded updates, and why others cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from clients import UPDATES
from fedbal.assembly import Assembly, make_strategy
from fedbal.errors import UsageError
from fedbal.protocol import NORMALISED_STEPS, RECEIVED_LOSS
from fedbal.recorded import RecordedRound
from fedbal.registry import is_reference
from fedbal.scenario import Scenario, from_mapping
from strategies.base import AggregationRule

ON_REQUEST = (NORMALISED_STEPS, RECEIVED_LOSS)
"""Extras that ``runtime.record_updates.extras`` may name."""


@dataclass(frozen=True)
class Rule:
    """A rule to replay.

    Attributes
    ----------
    label : str
        What tables call it; unique.
    scenario : Scenario
        The run's scenario with this rule.
    own : bool
        Whether it is the rule of the run.
    """

    label: str
    scenario: Scenario
    own: bool


def rules_of(strategies: str | Sequence[str | Mapping[str, Any]], scenario: Scenario) -> list[Rule]:
    """Return the run's own rule and the others that are asked for, each once.

    Parameters
    ----------
    strategies : str or sequence of str or Mapping
        As in :func:`fedbal.comparison.replay.replay`; the name of the run's own rule means that rule as it ran.
    scenario : Scenario
        The run's.

    Raises
    ------
    UsageError
        A text is no list of rules, or a rule does not exist or refuses its parameters.
    """
    own = scenario.strategy
    rules = [Rule(_label({"name": own.name}), scenario, own=True)]
    for choice in _listed(strategies) if isinstance(strategies, str) else strategies:
        block = {"name": choice} if isinstance(choice, str) else dict(choice)
        if block == {"name": own.name}:
            continue
        # The clients of the run have trained: their update stays, whatever the rule would ask for.
        raw = {key: value for key, value in scenario.resolved().items() if key not in ("track", "compare")}
        other = from_mapping({**raw, "strategy": block})
        if other.strategy == own:
            continue
        label = _label(block)
        if all(rule.label != label for rule in rules):
            rules.append(Rule(label, other, own=False))
    return rules


def refusal(
    rule: Rule, scenario: Scenario, assembly: Assembly, recorded: Sequence[RecordedRound]
) -> str | None:
    """Return why a rule cannot be replayed; None if it can.

    Parameters
    ----------
    rule : Rule
        The rule.
    scenario : Scenario
        The run's.
    assembly : Assembly
        Its parts.
    recorded : sequence of RecordedRound
        What is to be replayed.
    """
    if rule.own:
        return None
    chosen = rule.scenario.strategy
    if getattr(chosen, "pools", False):
        return "it trains one client on the data of all, and no recorded client did"
    ran = scenario.client.update
    if ask := getattr(chosen, "client_update", None):
        update = ask()
        wanted: Any = UPDATES.params_model(update["name"]).model_validate(update)
        if wanted.name != "standard" and wanted != ran:
            return f"its clients train with {_described(wanted)}, those of the run trained with {_described(ran)}"
    try:
        strategy = strategy_of(rule, assembly)
    except UsageError as error:
        return str(error).rstrip(".")
    if not isinstance(strategy, AggregationRule):
        return None
    for one in recorded:
        for reply in one.replies:
            missing = [extra for extra in strategy.asks if extra not in one.extras(reply.node)]
            if missing:
                return f"it needs {', '.join(missing)} of every client, {_how(missing)}"
    return None


def strategy_of(rule: Rule, assembly: Assembly) -> Any:
    """Return a fresh strategy, as it is before round 1."""
    federation = assembly.federation
    return make_strategy(
        rule.scenario,
        federation.dataset.num_classes,
        len(assembly.population.nodes),
        counted=bool(federation.counted_classes),
    )


def _listed(text: str) -> list[str | dict[str, Any]]:
    """Read ``fedavg,{name: feddisco, a: 0.3},./file.py:Rule``."""
    try:
        found = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        found = None
    if not found or not all(isinstance(one, str | dict) for one in found):
        raise UsageError(
            f"--strategies is {text!r}; give rules with commas between them, as in "
            "fedavg,{name: feddisco, a: 0.3},./my_rule.py:MyRule."
        )
    return list(found)


def _label(block: Mapping[str, Any]) -> str:
    name = str(block.get("name"))
    shown = name.rpartition(":")[2] if is_reference(name) else name
    changes = ", ".join(f"{key}={value}" for key, value in block.items() if key != "name")
    return f"{shown} {changes}".strip()


def _described(update: Any) -> str:
    dumped = update.model_dump(mode="json", exclude_none=True)
    given = [f"{key}={value}" for key, value in dumped.items() if key != "name"]
    return f"{update.name} ({', '.join(given)})" if given else str(update.name)


def _how(missing: Sequence[str]) -> str:
    if all(extra in ON_REQUEST for extra in missing):
        return f"which was not recorded: run with runtime.record_updates.extras: [{', '.join(missing)}]"
    return "which no client of the run was asked for"
