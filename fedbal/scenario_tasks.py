"""Whether every component of a scenario can be used on the task of its data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fedbal.components import Choice
from fedbal.document import Document, Location, Problem
from fedbal.measures.names import TaskName
from fedbal.params import Params
from fedbal.registry import Table


def task_problems(scenario: Params, task: TaskName, dataset: str, document: Document) -> list[Problem]:
    """Return a problem for each component that is not made for the task, with those that are.

    Parameters
    ----------
    scenario : Params
        The scenario.
    task : {"classification", "segmentation"}
        Task of its data.
    dataset : str
        Name of the data set, for the message.
    document : Document
        Where each key stands.
    """
    problems, asked = [], None
    for location, component, siblings in _components(scenario, (), ()):
        if task in component.for_tasks():
            continue
        update = getattr(component, "client_update", None)
        if update is not None:
            asked = update()["name"]
        elif location == ("client", "update") and asked == getattr(component, "name", None):
            continue  # The strategy asked for it, and is refused already.
        given = getattr(component, "name", None)
        fitting = [name for name, other in siblings if task in _for_tasks(other)]
        use = f"choose {', '.join(fitting)}" if fitting else "leave it out"
        what = f"got {given}; it" if given else "it"
        kinds = " and ".join(component.for_tasks())
        message = f"{what} is for {kinds}, and the data set {dataset} is for {task}; {use}."
        problems.append(Problem(document.mark(location), location, message))
    return problems


def _components(
    block: Params, location: Location, siblings: tuple[tuple[str, Any], ...]
) -> Iterator[tuple[Location, Params, tuple[tuple[str, Any], ...]]]:
    """Iterate over a block and all blocks in it: where each is, and what else could stand there."""
    yield location, block, siblings
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(value, Params):
            yield from _components(value, (*location, name), _siblings(field))


def _siblings(field: Any) -> tuple[tuple[str, Any], ...]:
    """Return names and parameter models of what can be chosen for a field."""
    for choice in field.metadata:
        if isinstance(choice, Choice):
            table: Table = choice.table
            return tuple((name, table.params_model(name)) for name in table)
    return ()


def _for_tasks(model: Any) -> tuple[TaskName, ...]:
    """Return what a component with its defaults is for."""
    try:
        found: tuple[TaskName, ...] = model().for_tasks()
    except ValueError:
        found = model.model_construct().for_tasks()
    return found
