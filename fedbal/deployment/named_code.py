"""Code that a scenario names and fedbal did not ship: at a site it runs only if the site's owner named it too.

A component may be ``package.module:Class`` of anything that is installed, and is called with the scenario's own
arguments. From another machine that is a way to run any function, so the owner says which ones are meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fedbal.errors import RunError
from fedbal.registry import is_reference
from fedbal.scenario import Scenario

ANY = "any"
"""Stands for every component; for a machine that runs its own scenarios."""
_FLOWERS = "flwr.serverapp.strategy:"
"""Flower's own strategies, which are taken as rules only if they are one."""


def named_code(scenario: Scenario) -> list[str]:
    """Return the components of a scenario that are neither fedbal's nor a strategy of Flower's, sorted.

    Parameters
    ----------
    scenario : Scenario
        As it was loaded; nothing is imported.
    """
    found = {
        name
        for where, name in _names(scenario.resolved())
        if is_reference(name) and not (where == "strategy.name" and name.startswith(_FLOWERS))
    }
    return sorted(found)


def require_named(scenario: Scenario, components: Collection[str]) -> None:
    """Refuse a scenario that names code which the site's owner did not name.

    Parameters
    ----------
    scenario : Scenario
        What a run brought.
    components : collection of str
        What the owner named with ``--component``, or ``any``.

    Raises
    ------
    RunError
        It names another one.
    """
    strange = [] if ANY in components else [one for one in named_code(scenario) if one not in components]
    if strange:
        options = " ".join(f"--component '{one}'" for one in strange)
        raise RunError(
            f"the scenario names code that is not fedbal's ({', '.join(strange)}), which was not run; if it is "
            f"meant, start the site with {options}."
        )


def _names(values: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, str]]:
    """Iterate over the names of all components, with their places; the scenario's own name is none."""
    for key, value in values.items():
        place = f"{where}.{key}" if where else key
        if isinstance(value, Mapping):
            yield from _names(value, place)
        elif isinstance(value, list | tuple):
            yield from _names({str(index): item for index, item in enumerate(value)}, place)
        elif key == "name" and where and isinstance(value, str):
            yield place, value
