"""The ``compare:`` block of a scenario: what is compared, on what, over which seeds; needs pydantic only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from fedbal.components import Choice, Component
from fedbal.params import Params
from strategies import STRATEGIES

Reference = Literal["fedavg", "uniform", "local_only", "centralised", "fedavg_finetuned"]
REFERENCES: tuple[Reference, ...] = get_args(Reference)
"""Rows that every table has beside the rules: no family of tests holds them."""

SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1.0, "B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
UNITS = ("rounds", "bytes", "client_seconds")
MANY_SEEDS = 10_000

_TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+)")
_AMOUNT = re.compile(r"(\d+(?:\.\d*)?(?:e\d+)?|\.\d+)\s*([A-Za-z]*)")

Rule = Annotated[Component, Choice(STRATEGIES)]
Axis = Literal["partition", "init", "training"]


class Variant(Params):
    """One side of a comparison: a rule, and whatever else it changes in the scenario."""

    label: Annotated[str, Field(min_length=1, max_length=60)] | None = Field(
        None, description="What tables call it; left out: the rule and its parameters."
    )
    strategy: Rule | None = Field(None, description="Aggregation rule; left out: the scenario's own.")
    set: dict[str, Any] = Field(
        default_factory=dict, description="Further changes by dotted key, such as client.loss: focal."
    )


def long_form(value: Any, info: ValidationInfo) -> Any:
    """Write ``fedprox`` and ``{name: fedprox, mu: 1}`` out as a :class:`Variant`."""
    if isinstance(value, str):
        return {"strategy": value}
    if isinstance(value, Mapping) and "name" in value and "strategy" not in value:
        own = {key: value[key] for key in ("label", "set") if key in value}
        rule = {key: value[key] for key in value if key not in own}
        return {**own, "strategy": _rule(rule, info)}
    return value


def _rule(block: Mapping[str, Any], info: ValidationInfo) -> Component:
    """Validate a rule here, so that an error is about what was written and not about its long form."""
    try:
        rule: Component = _rules().validate_python(block, context=info.context)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"][1:])
        text = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise PydanticCustomError(
            "component", "{message}", {"message": f"{key}: {text}" if key else text}
        ) from None
    return rule


@cache
def _rules() -> TypeAdapter[Any]:
    return TypeAdapter(Rule)


Side = Annotated[Variant, BeforeValidator(long_form, json_schema_input_type=Rule | Variant)]


class CompareBlock(Params):
    """What ``fedbal compare`` does with the scenario; a run of it ignores the block."""

    strategies: Annotated[list[Side], Field(min_length=1)] | None = Field(
        None,
        description="What is compared: names of rules, blocks such as {name: fedprox, mu: 1}, your own rules as "
        "./file.py:Class, or {label: ..., set: {dotted.key: value}}; left out: FedAvg, the scenario's own rule and "
        "its natural rivals.",
    )
    seeds: str | Annotated[int, Field(ge=0)] | list[Annotated[int, Field(ge=0)]] = Field(
        "0-9", description="Seeds of every rule: 0-9, or 0-4,7, or a list."
    )
    seed_axes: Annotated[list[Axis], Field(min_length=1)] = Field(
        ["partition", "init", "training"],
        description="Which of the scenario's seeds are varied; the others stay as they are.",
    )
    vary: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Values by dotted key; every combination is a data set of its own. Keys of strategy make "
        "further rules instead.",
    )
    baseline: str | None = Field(
        None, description="Label of what all others are compared with; left out: fedavg, else the first."
    )
    primary: str | None = Field(
        None,
        description="The one outcome that verdicts are about, a place in rounds.jsonl; left out: "
        "test.balanced_accuracy, of masks test.dice.",
    )
    margin: Annotated[float, Field(gt=0.0)] = Field(
        0.005, description="Largest difference that counts as equivalent, > 0, in the primary outcome's unit."
    )
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.05, description="Family-wise error of the verdicts, in (0, 1)."
    )
    planned_seeds: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Seeds that are planned in all, if one looks before; left out: as many as seeds.",
    )
    budget: str | None = Field(
        None,
        description="A time limit of the whole comparison (10m, 90s, 2h), or an equal budget of every run: "
        "rounds=50, bytes=200MB, client_seconds=600.",
    )
    tune: Annotated[int, Field(ge=0)] = Field(
        0, description="Trials that each rule gets on validation rows before the comparison; 0: none."
    )
    target: float | None = Field(
        None,
        description="Value of the primary outcome whose time is measured; left out: 90 % of the best mean.",
    )
    references: bool | list[Reference] = Field(
        True, description="Reference rows in every table; true: all of them."
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="Processes, >= 1; auto: one a CPU."
    )

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: str | int | list[int]) -> str | int | list[int]:
        parse_seeds(value)
        return value

    @field_validator("budget")
    @classmethod
    def _budget(cls, value: str | None) -> str | None:
        if value is not None:
            parse_budget(value)
        return value


def parse_seeds(value: str | int | list[int]) -> tuple[int, ...]:
    """Return the seeds that ``0-4,7`` names, in its order.

    Raises
    ------
    ValueError
        It names none, or one twice.
    """
    if isinstance(value, int):
        return (value,)
    if isinstance(value, str):
        seeds: list[int] = []
        for part in value.split(","):
            found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
            if not found:
                raise ValueError("write seeds as 0-9, or 0-4,7")
            first = int(found[1])
            last = first if found[2] is None else int(found[2])
            if last < first:
                raise ValueError(f"{part.strip()} ends before it begins; write {last}-{first}")
            if last - first >= MANY_SEEDS:
                raise ValueError(f"{part.strip()} are more than {MANY_SEEDS} seeds; name fewer")
            seeds += range(first, last + 1)
    else:
        seeds = list(value)
    if not seeds:
        raise ValueError("at least one seed is needed")
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ValueError(f"seed {twice} is named twice; name each once")
    return tuple(seeds)


def write_seeds(seeds: tuple[int, ...] | list[int]) -> str:
    """Write seeds as ``0-4,7``."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def parse_budget(text: str) -> tuple[str, float]:
    """Return unit and amount of a budget: ``seconds`` of wall time of all, or ``rounds``, ``bytes``, ...

    Raises
    ------
    ValueError
        It is none.
    """
    key, equals, given = (part.strip() for part in text.strip().partition("="))
    allowed = "write a time limit such as 90s, 10m or 2h, or rounds=50, bytes=200MB, client_seconds=600"
    if not equals:
        found = _TIME.fullmatch(key)
        if not found or found[2] not in SECONDS:
            raise ValueError(allowed)
        unit, amount = "seconds", float(found[1]) * SECONDS[found[2]]
    else:
        found = _AMOUNT.fullmatch(given)
        if key not in UNITS or not found:
            raise ValueError(allowed)
        scale = {"rounds": {"": 1.0}, "bytes": BYTES, "client_seconds": {"": 1.0, **SECONDS}}[key]
        if found[2] not in scale:
            raise ValueError(allowed)
        unit, amount = key, float(found[1]) * scale[found[2]]
        if unit == "rounds" and amount != int(amount):
            raise ValueError("rounds are whole; write rounds=50")
    if amount <= 0:
        raise ValueError("a budget must be more than nothing")
    return unit, amount
