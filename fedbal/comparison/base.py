"""The scenario that a comparison starts from, in a form that every side can change and a file can keep."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbal import overrides as _overrides
from fedbal import scenario as scenarios
from fedbal.comparison.block import CompareBlock
from fedbal.errors import UsageError
from fedbal.scenario import Scenario, find_scenario, from_mapping
from fedbal.scenario_errors import check_plain
from fedbal.yaml_source import read


@dataclass(frozen=True)
class Base:
    """A scenario before any side of a comparison changes it.

    Attributes
    ----------
    raw : mapping
        What its file says, changes included and without ``compare``; paths are absolute. Not resolved: a client
        update that is ``auto`` follows each rule.
    scenario : Scenario
        The same, validated.
    block : CompareBlock
        What it says about comparing; all defaults if nothing.
    source : str
        As it was named: a shipped name, a file, or the scenario's name if it came from Python.
    declared : bool
        Whether it has a ``compare`` block.
    changes : tuple of str
        What ``--set`` changed in it.
    """

    raw: Mapping[str, Any]
    scenario: Scenario
    block: CompareBlock
    source: str
    declared: bool = False
    changes: tuple[str, ...] = ()

    def with_changes(self, changes: Sequence[str]) -> Scenario:
        """Return the scenario with further changes, each ``key=value``.

        Raises
        ------
        UsageError
            A change does not fit.
        """
        return from_mapping(self.raw, overrides=changes)


def open_base(source: Scenario | str | Path | Mapping[str, Any], changes: Sequence[str] = ()) -> Base:
    """Read the scenario of a comparison.

    Parameters
    ----------
    source : Scenario, str, Path or Mapping
        A loaded scenario, a YAML file, a shipped name, or what a YAML file would hold.
    changes : sequence of str
        Changes as ``--set`` takes them; ``compare.`` keys too.

    Raises
    ------
    UsageError
        Every problem of the file and the changes.
    """
    if isinstance(source, Scenario):
        document, name = check_plain(_automatic(source), "scenario"), source.name
        loaded = from_mapping(document.value, overrides=changes)
        if loaded.compare is None:
            loaded = loaded.model_copy(update={"compare": source.compare})
    elif isinstance(source, Mapping):
        document, loaded = check_plain(source, "scenario"), from_mapping(source, overrides=changes)
        name = loaded.name
    else:
        path = find_scenario(source)
        document, loaded, name = read(path), scenarios.load(source, changes), str(source)
    for text in changes:
        _overrides.apply(document, text)
    raw = _absolute(document.value, loaded.resolved())
    raw.pop("compare", None)
    block = loaded.compare or CompareBlock()
    _refuse_seeds(changes, block)
    return Base(raw, loaded, block, name, loaded.compare is not None, tuple(changes))


def _refuse_seeds(changes: Sequence[str], block: CompareBlock) -> None:
    """Refuse a seed that every run would override."""
    for text in changes:
        block_key, _, axis = text.partition("=")[0].strip().partition(".")
        if block_key == "seed" and {axis or "partition"} <= set(block.seed_axes):
            raise UsageError(
                f"--set {text}: a comparison gives every run its seed; name them with --seeds. To keep an axis as "
                "it is, leave it out: --set compare.seed_axes='[init, training]'."
            )


def _automatic(scenario: Scenario) -> dict[str, Any]:
    """Return the plain values of a loaded scenario; an update that its rule asked for is ``auto`` again."""
    content = copy.deepcopy(scenario.resolved())
    ask = getattr(scenario.strategy, "client_update", None)
    name = ask()["name"] if ask else "standard"
    if scenario.client.update.name == name and (not ask or _agrees(content["client"]["update"], ask())):
        content["client"]["update"] = "auto"
    return content


def _agrees(update: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    return all(update.get(key) == value for key, value in asked.items())


def _absolute(raw: Any, resolved: Any) -> Any:
    """Copy what a file says, with the paths that the resolved scenario has made absolute."""
    if isinstance(raw, Mapping):
        inside = resolved if isinstance(resolved, Mapping) else {}
        return {key: _absolute(value, inside.get(key)) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_absolute(value, None) for value in raw]
    if isinstance(raw, str) and isinstance(resolved, Mapping):
        return str(resolved.get("name", raw)) if ".py:" in raw else raw
    if isinstance(raw, str) and isinstance(resolved, str) and Path(resolved).is_absolute():
        return resolved
    return raw
