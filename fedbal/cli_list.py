"""``fedbal list``: what scenarios can choose from."""

from __future__ import annotations

from collections.abc import Callable

from fedbal.errors import UsageError
from fedbal.registry import Table, unknown_name
from fedbal.terminal import say

Lines = list[tuple[str, str, str]]


def print_list(kind: str) -> None:
    """Print one line for each component of a kind: name, what it is, who published it.

    Raises
    ------
    UsageError
        There is no such kind.
    """
    if kind not in KINDS:
        raise UsageError(unknown_name("kind", kind, KINDS))
    lines = KINDS[kind]()
    width = max(len(name) for name, _, _ in lines)
    for name, summary, paper in lines:
        say(f"{name:<{width}}  {summary}{f' [{paper}]' if paper else ''}")


def _table(module: str, name: str) -> Callable[[], Lines]:
    def lines() -> Lines:
        import importlib

        entries: Table = getattr(importlib.import_module(module), name)
        return [(key, entry.summary, entry.paper) for key, entry in entries.items()]

    return lines


def _scenarios() -> Lines:
    from fedbal.scenario_files import shipped

    return [(name, comment, "") for name, comment in shipped()]


def _knobs() -> Lines:
    from fedbal.comparison.tuning.space import TABLES, declared

    lines = []
    for key, table in TABLES.items():
        for name in table:
            model = table.params_model(name)
            for field, space in declared(model).items():
                default = model.model_fields[field].default
                lines.append((f"{key}.{field} of {name}", f"tuned over {space}; default {default}", ""))
    return lines


KINDS: dict[str, Callable[[], Lines]] = {
    "strategies": _table("strategies", "STRATEGIES"),
    "updates": _table("clients", "UPDATES"),
    "losses": _table("clients", "LOSSES"),
    "optimizers": _table("clients", "OPTIMIZERS"),
    "schedules": _table("clients", "SCHEDULES"),
    "availabilities": _table("strategies", "AVAILABILITIES"),
    "datasets": _table("fedbal.data", "DATASETS"),
    "partitions": _table("fedbal.data", "PARTITIONS"),
    "quantities": _table("fedbal.data", "QUANTITIES"),
    "models": _table("fedbal.models", "MODELS"),
    "knobs": _knobs,
    "scenarios": _scenarios,
}
