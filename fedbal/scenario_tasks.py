"""Whether every component of a scenario can be used on the task of its data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from fedbal.components import Choice
from fedbal.document import Document, Location, Problem
from fedbal.measures.names import TaskName
from fedbal.params import Params


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
        what, use = f"got {given}; it is" if given else "this is", f"choose {', '.join(fitting)}"
        if given in fitting:
            what, use = f"{given} with these parameters is", "change or leave out its parameters"
        elif not fitting:
            use = "leave it out"
        kinds = " and ".join(component.for_tasks())
        message = f"{what} for {kinds}, and the data set {dataset} is for {task}; {use}."
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
    return tuple(dict(_named([*field.metadata, field.annotation])).items())


def _named(parts: Any) -> Iterator[tuple[str, Any]]:
    """Look for choices, and for models with a name, in an annotation's parts."""
    for part in parts:
        if isinstance(part, Choice):
            yield from ((name, part.table.params_model(name)) for name in part.table)
        elif isinstance(part, type) and issubclass(part, Params):
            if "name" in part.model_fields:
                yield part.model_fields["name"].default, part
        else:
            yield from _named([*get_args(part), *getattr(part, "__metadata__", ())])


def _for_tasks(model: Any) -> tuple[TaskName, ...]:
    """Return what a component with its defaults is for."""
    try:
        found: tuple[TaskName, ...] = model().for_tasks()
    except ValueError:
        found = model.model_construct().for_tasks()
    return found
