"""What a comparison declares before anything runs: from a scenario's block and what is asked for beside it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedbal.api import texts
from fedbal.comparison import arms
from fedbal.comparison.base import Base
from fedbal.comparison.block import CompareBlock, Variant, parse_budget, parse_seeds, write_seeds
from fedbal.comparison.primary import of_personal_models, outcome
from fedbal.comparison.records import Method, Protocol
from fedbal.errors import UsageError
from fedbal.scenario import Scenario
from fedbal.scenario_blocks import Seeds

Changes = tuple[str, ...]


@dataclass(frozen=True)
class Declaration:
    """A comparison as it is declared.

    Attributes
    ----------
    base : Base
        The scenario.
    protocol : Protocol
        Methods, data sets, seeds, primary outcome, margin; without looks.
    variations : mapping
        Changes of the scenario by label of the data set.
    seconds : float or None
        Limit of the wall time of all runs.
    workers : int or None
        Processes; None: one a CPU.
    tune : int
        Trials of each rule before the comparison.
    notes : tuple of str
        What was chosen for the user, each a sentence.
    vary : mapping
        Values by key whose combinations are the data sets.
    """

    base: Base
    protocol: Protocol
    variations: Mapping[str, Changes]
    seconds: float | None = None
    workers: int | None = None
    tune: int = 0
    notes: tuple[str, ...] = ()
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def scenario(self, dataset: str, method: Method, more: Sequence[str] = ()) -> Scenario:
        """Return the scenario of a method on a data set; ``more`` are changes that tuning found.

        Raises
        ------
        UsageError
            The method does not fit the scenario.
        """
        return self.base.with_changes((*self.variations[dataset], *method.overrides, *more))

    def seeded(self, scenario: Scenario, seed: int) -> Scenario:
        """Return a scenario with a seed on the axes that are varied."""
        seeds = {**dict(scenario.seed), **dict.fromkeys(self.protocol.seed_axes, seed)}
        return scenario.model_copy(update={"seed": Seeds(**seeds)})

    @property
    def rivals(self) -> tuple[Method, ...]:
        """The methods that are compared, without reference rows."""
        return tuple(method for method in self.protocol.methods if not method.reference)


def declare(base: Base, flags: Mapping[str, Any] | None = None) -> Declaration:
    """Return what is compared.

    Parameters
    ----------
    base : Base
        The scenario and its block.
    flags : mapping
        Keys of the block that are given beside it; None means not given. They replace the block's.

    Raises
    ------
    UsageError
        A key, a rule or a variation does not fit; nothing has been run.
    """
    block = _with_flags(base.block, flags or {})
    own = base.scenario.strategy
    notes: list[str] = []
    block = _strategies_of_vary(block)
    if block.strategies is not None:
        methods = arms.of_variants(block.strategies, own)
    elif any(_is_rule(key) for key in block.vary):
        methods = arms.of_variants([Variant()], own)
    else:
        methods = arms.by_default(base.scenario)
        names = ", ".join(method.label for method in methods)
        notes.append(
            f"No rules were named: {names} are compared, seeds {write_seeds(parse_seeds(block.seeds))}."
        )
    axes = {key: values for key, values in block.vary.items() if not _is_rule(key)}
    for key, values in block.vary.items():
        methods = _spread(base, methods, key, values) if _is_rule(key) else methods
    methods, baseline = _with_baseline(base, methods, block.baseline, notes)
    arms.require_unique(methods)
    variations = _variations(axes)
    primary = outcome(block.primary, getattr(base.scenario.data, "task", "classification"))
    personal = of_personal_models(primary)
    methods = tuple(_places(base, variations, method, personal) for method in methods)
    references = _references(base, block, methods, variations, personal, notes)
    unit, amount = parse_budget(block.budget) if block.budget else ("", 0.0)
    seeds = parse_seeds(block.seeds)
    protocol = Protocol(
        name=base.scenario.name,
        methods=(*methods, *references),
        baseline=baseline,
        datasets=tuple(variations),
        seeds=seeds,
        primary=primary,
        margin=block.margin,
        alpha=block.alpha,
        planned_seeds=max(block.planned_seeds or 0, len(seeds)),
        budget=(unit, amount) if unit not in ("", "seconds") else None,
        target=block.target,
        seed_axes=tuple(block.seed_axes),
    )
    return Declaration(
        base=base,
        protocol=protocol,
        variations=variations,
        seconds=amount if unit == "seconds" else None,
        workers=None if block.workers == "auto" else block.workers,
        tune=block.tune,
        notes=tuple(notes),
        vary=axes,
    )


def _with_flags(block: CompareBlock, flags: Mapping[str, Any]) -> CompareBlock:
    given = {key: value for key, value in flags.items() if value is not None}
    try:
        checked = CompareBlock.model_validate(given, context={"base": str(Path.cwd())})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"] if str(part).isidentifier())
        text = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise UsageError(f"{where}: got {first['input']!r}; {text}.") from None
    return block.model_copy(update={key: getattr(checked, key) for key in given})


def _is_rule(key: str) -> bool:
    return key == "strategy" or key.startswith("strategy.")


def _strategies_of_vary(block: CompareBlock) -> CompareBlock:
    """Take the rules that ``vary`` names as what is compared."""
    if "strategy" not in block.vary:
        return block
    if block.strategies is not None:
        raise UsageError(
            "vary: strategy is varied and strategies are named too; name all rules in strategies."
        )
    rest = {key: values for key, values in block.vary.items() if key != "strategy"}
    return _with_flags(block, {"strategies": block.vary["strategy"]}).model_copy(update={"vary": rest})


def _spread(base: Base, methods: Sequence[Method], key: str, values: Sequence[Any]) -> tuple[Method, ...]:
    """Make methods of the values of a key of the rule, of those methods whose rule has it."""
    made: list[Method] = []
    refused: UsageError | None = None
    for method in methods:
        found = arms.spread([method], key, values)
        try:
            for one in found:
                base.with_changes(one.overrides)
        except UsageError as error:
            refused = error
            made.append(method)
        else:
            made += found
    if refused is not None and made == list(methods):
        raise refused
    return tuple(made)


def _with_baseline(
    base: Base, methods: tuple[Method, ...], wanted: str | None, notes: list[str]
) -> tuple[tuple[Method, ...], str]:
    labels = [method.label for method in methods]
    if wanted is not None:
        if wanted not in labels and wanted != "fedavg":
            raise UsageError(f"baseline: no side is called {wanted!r}; there are {', '.join(labels)}.")
    elif "fedavg" not in labels:
        own = [method.label for method in methods if _rule_of(base, method) == "fedavg"]
        if own:
            return methods, own[0]
    baseline = wanted or "fedavg"
    if baseline not in labels:
        methods = (arms.fedavg(base.scenario.strategy), *methods)
        notes.append("fedavg was added: it is the baseline.")
    if len(methods) < 2:
        raise UsageError(f"only {baseline} is named; name at least one more rule to compare with it.")
    return methods, baseline


def _rule_of(base: Base, method: Method) -> str:
    return base.with_changes(method.overrides).strategy.name


def _variations(axes: Mapping[str, Sequence[Any]]) -> dict[str, Changes]:
    """Return the changes of every combination of values by its label."""
    made: dict[str, Changes] = {}
    for values in itertools.product(*axes.values()):
        pairs = list(zip(axes, values, strict=True))
        label = ", ".join(arms.change(key, value) for key, value in pairs)
        made[label] = tuple(texts(dict(pairs)))
    if len(made) < len(list(itertools.product(*axes.values()))):
        raise UsageError("vary: a value is named twice; name each once.")
    return made


def _places(base: Base, variations: Mapping[str, Changes], method: Method, personal: str) -> Method:
    """Check that a method fits every data set, and say where its outcome stands."""
    rules = {
        base.with_changes((*changes, *method.overrides)).strategy.name for changes in variations.values()
    }
    return replace(method, tests=personal) if rules & set(arms.PERSONAL) else method


def _references(
    base: Base,
    block: CompareBlock,
    methods: Sequence[Method],
    variations: Mapping[str, Changes],
    personal: str,
    notes: list[str],
) -> tuple[Method, ...]:
    """Return the reference rows that fit the scenario and are not compared already."""
    compared = [
        base.with_changes((*changes, *method.overrides)).resolved()
        for method in methods
        for changes in itertools.islice(variations.values(), 1)
    ]
    found, without = [], []
    held_back = getattr(base.scenario.data, "client_test", None) != 0
    for method in arms.of_references(block, methods, personal):
        if method.tests and not held_back:
            without.append(method.label)
            continue
        try:
            made = [
                base.with_changes((*changes, *method.overrides)).resolved() for changes in variations.values()
            ]
        except UsageError:
            notes.append(f"There is no reference row {method.label}: it does not fit this scenario.")
            continue
        if made[0] not in compared:
            found.append(method)
    if without:
        notes.append(
            f"There are no reference rows {' and '.join(without)}: data.client_test is 0, so no client has test "
            "rows of its own."
        )
    return tuple(found)
