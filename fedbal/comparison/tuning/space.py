"""The knobs of a scenario: what its rule, update, loss and optimizers declare to be searched."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotated_types import Ge, Le

from clients import LOSSES, OPTIMIZERS, UPDATES
from fedbal.api import texts
from fedbal.errors import UsageError
from fedbal.params import CustomParams, Params
from fedbal.registry import Table
from fedbal.scenario import Scenario
from fedbal.search_space import OneOf, Range, Space
from strategies import SERVER_OPTIMIZERS, STRATEGIES, WEIGHTINGS

EDGE = 0.05
"""Share of a space, from either end, that counts as its edge."""
AUTO = "client.update=auto"

TABLES: dict[str, Table] = {
    "strategy": STRATEGIES,
    "strategy.weighting": WEIGHTINGS,
    "strategy.server_optimizer": SERVER_OPTIMIZERS,
    "client.update": UPDATES,
    "client.loss": LOSSES,
    "client.optimizer": OPTIMIZERS,
}
"""Where classes of one's own are looked up, by key."""


@dataclass(frozen=True)
class Knob:
    """A parameter that is searched.

    Attributes
    ----------
    key : str
        Dotted key of the scenario.
    space : Range or OneOf
        Its values, the default among them.
    default : bool, int, float, str or None
        Value that the scenario has; None: left out.
    closed : tuple of bool
        Whether nothing is allowed below the lowest value, and above the highest.
    """

    key: str
    space: Space
    default: Any
    closed: tuple[bool, bool] = (False, False)

    def edge(self, value: Any) -> str | None:
        """Return ``low`` or ``high`` where a value lies at an end that one could go beyond."""
        share = self.space.share(value)
        if share is None or self.space.ends[0] is None:
            return None
        if share <= EDGE and not self.closed[0]:
            return "low"
        return "high" if share >= 1.0 - EDGE and not self.closed[1] else None

    def distance(self, value: Any) -> float:
        """Return how far a value is from the default, in [0, 1]; a default that is left out is in the middle."""
        if value == self.default:
            return 0.0
        share, default = self.space.share(value), self.space.share(self.default)
        return abs((0.5 if share is None else share) - (0.5 if default is None else default))


def search_space(scenario: Scenario) -> tuple[Knob, ...]:
    """Return the knobs of a scenario: the rule's own, those of its parts, the loss's, and the learning rates.

    A value beyond its declared range widens the range, so that a scenario can move the search.

    Parameters
    ----------
    scenario : Scenario
        What is tuned.

    Raises
    ------
    UsageError
        A class of one's own declares a ``search_space`` that is none.
    """
    client = scenario.client
    blocks: dict[str, Any] = {"strategy": scenario.strategy}
    if not update_is_asked_for(scenario):
        blocks["client.update"] = client.update
    blocks |= {"client.loss": client.loss, "client.optimizer": client.optimizer}
    return tuple(knob for key, chosen in blocks.items() for knob in _knobs(key, chosen))


def overrides_of(scenario: Scenario, values: Mapping[str, Any], knobs: Sequence[Knob]) -> tuple[str, ...]:
    """Return what sets the knobs of a scenario to other values, as ``--set`` takes it; nothing for the defaults."""
    changed = {knob.key: values[knob.key] for knob in knobs if values[knob.key] != knob.default}
    if not changed:
        return ()
    # The update that a rule asks for stands in a resolved scenario with the rule's old parameters.
    return (*([AUTO] if update_is_asked_for(scenario) else []), *texts(changed))


def update_is_asked_for(scenario: Scenario) -> bool:
    """Tell whether the clients' update is the one that the rule asks for, so that the rule decides its knobs."""
    ask = getattr(scenario.strategy, "client_update", None)
    wanted: dict[str, Any] = ask() if ask else {"name": "standard"}
    asked = UPDATES.params_model(wanted["name"]).model_validate(wanted)
    return asked.model_dump() == scenario.client.update.model_dump()


def distance(values: Mapping[str, Any], knobs: Sequence[Knob]) -> float:
    """Return the Euclidean distance of a point from the defaults, where each knob's space has length 1."""
    return math.hypot(*(knob.distance(values[knob.key]) for knob in knobs))


def declared(model: type[Params]) -> dict[str, Space]:
    """Return what a parameter model declares, by field."""
    found = {
        name: next((item for item in field.metadata if isinstance(item, Range | OneOf)), None)
        for name, field in model.model_fields.items()
    }
    return {name: space for name, space in found.items() if space is not None}


def _knobs(key: str, chosen: Any) -> Iterator[Knob]:
    if isinstance(chosen, CustomParams):
        if key in TABLES:
            yield from _own(key, chosen)
        return
    spaces = declared(type(chosen))
    for name, field in type(chosen).model_fields.items():
        value, place = getattr(chosen, name), f"{key}.{name}"
        if name in spaces:
            yield _knob(place, spaces[name], value, field.metadata)
        elif isinstance(value, Params | CustomParams):
            yield from _knobs(place, value)


def _knob(key: str, space: Space, value: Any, limits: Sequence[Any] = ()) -> Knob:
    low, high = space.ends
    least = any(isinstance(limit, Ge) and limit.ge == low for limit in limits)
    most = any(isinstance(limit, Le) and limit.le == high for limit in limits)
    return Knob(key, space.including(value), value, (least, most))


def _own(key: str, chosen: CustomParams) -> Iterator[Knob]:
    """Return the knobs of a user's own class."""
    component = TABLES[key].load(chosen.name)
    spaces = getattr(component, "search_space", {})
    known = isinstance(spaces, Mapping) and all(isinstance(space, Range | OneOf) for space in spaces.values())
    if not known:
        raise UsageError(
            f"{key}: search_space of {chosen.name} is {spaces!r}; declare a dictionary of constructor arguments "
            "and fedbal.search_space.Range(low, high, log=True) or OneOf((a, b))."
        )
    given = chosen.kwargs()
    for name, space in spaces.items():
        yield _knob(f"{key}.{name}", space, given.get(name, _default(component, name)))


def _default(component: Any, name: str) -> Any:
    """Return the default of a constructor's argument; None where it has none."""
    found = inspect.signature(component).parameters.get(name)
    return None if found is None or found.default is inspect.Parameter.empty else found.default
