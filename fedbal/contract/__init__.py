"""The contract of rules and client updates: the checks that every shipped one passes, for anyone's own.

``fedbal check ./my_rule.py:MyRule`` prints the verdicts; a test of one's own calls :func:`check`.

>>> from fedbal.contract import check
>>> [verdict.title for verdict in check("fedavg", runs=False) if verdict.status == "failed"]
[]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flwr.serverapp.strategy import Strategy

from clients import UPDATES
from clients.base import ClientUpdate
from fedbal.contract import rules, runs, updates
from fedbal.contract.base import Broken, Item, Skipped, Verdict, examine
from fedbal.driver import quiet
from fedbal.errors import UsageError
from fedbal.registry import is_reference, load_reference, resolve_reference, unknown_name
from strategies import STRATEGIES

__all__ = ["Broken", "Item", "Skipped", "Verdict", "check", "examine"]


def check(
    name: str, parameters: Mapping[str, Any] | None = None, *, train: bool = True, ray: bool = False
) -> list[Verdict]:
    """Run the contract on a rule or a client update.

    Parameters
    ----------
    name : str
        ``./file.py:Class``, ``package.module:Class``, or the name of a shipped strategy or update.
    parameters : Mapping, optional
        Constructor arguments; left out: the defaults.
    train : bool
        Whether to train for a few rounds too, which takes seconds.
    ray : bool
        Whether to repeat the run on Ray and compare the bytes.

    Returns
    -------
    list of Verdict
        One an item: ``passed``, ``failed`` or ``skipped``, what was seen, how to fix it.

    Raises
    ------
    UsageError
        There is no such class, it is neither a strategy nor an update, or its constructor fails.
    """
    name = resolve_reference(name, None)
    kind, arguments = _load(name), dict(parameters or {})
    block = {"name": name, **arguments}
    with quiet():
        if issubclass(kind, Strategy):
            rule = rules.RuleSubject(kind, arguments)
            rule.make()
            verdicts = examine(rules.ITEMS, rule)
            blocks: dict[str, Any] = {"strategy": block}
        else:
            update = updates.UpdateSubject(kind, arguments)
            update.make()
            verdicts = examine(updates.ITEMS, update)
            blocks = {"client": {"update": block}}
        if not train:
            return verdicts
        with runs.Trial(blocks) as trial:
            return [*verdicts, *examine(runs.items(ray=ray), trial)]


def _load(name: str) -> type[Strategy] | type[ClientUpdate]:
    if is_reference(name):
        kind = load_reference(name)
    elif name in STRATEGIES or name in UPDATES:
        kind = (STRATEGIES if name in STRATEGIES else UPDATES).load(name)
    else:
        message = unknown_name("rule or update", name, [*STRATEGIES, *UPDATES])
        raise UsageError(f"{message} Your own is ./file.py:Class.")
    if not (isinstance(kind, type) and issubclass(kind, Strategy | ClientUpdate)):
        raise UsageError(
            f"{name} is {kind!r}; `fedbal check` takes a subclass of strategies.base.AggregationRule (or of any "
            "Flower Strategy), or of clients.base.ClientUpdate."
        )
    return kind
