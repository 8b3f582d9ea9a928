"""The plan: every run of a comparison with its scenario and its content address, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedbal.comparison.address import address
from fedbal.comparison.declaration import Changes, Declaration
from fedbal.comparison.engines import Engines, choose
from fedbal.comparison.records import Protocol
from fedbal.errors import UsageError
from fedbal.scenario import Scenario

RUNS = "runs"


@dataclass(frozen=True)
class Cell:
    """A run of a comparison.

    Attributes
    ----------
    dataset, method : str
        Labels.
    seed : int
        Seed.
    scenario : Scenario
        What is run.
    address : str
        Of its content; the name of its directory.
    directory : Path
        Where it lies.
    reason : str or None
        Why it failed.
    """

    dataset: str
    method: str
    seed: int
    scenario: Scenario
    address: str
    directory: Path
    reason: str | None = None

    @property
    def where(self) -> str:
        """What people call it."""
        return ", ".join(part for part in (self.method, self.dataset, f"seed {self.seed}") if part)


@dataclass(frozen=True)
class Plan:
    """All runs of a comparison, seed by seed, all sides of a seed next to each other.

    Attributes
    ----------
    declaration : Declaration
        What was declared.
    tuned : mapping
        Changes that tuning found, by method.
    engines : Engines
        How clients are trained.
    cells : tuple of Cell
        Every run.
    """

    declaration: Declaration
    tuned: Mapping[str, Changes]
    engines: Engines
    cells: tuple[Cell, ...]

    @property
    def protocol(self) -> Protocol:
        """What was declared before the runs."""
        return self.declaration.protocol


def make_plan(
    declaration: Declaration,
    directory: Path,
    *,
    tuned: Mapping[str, Changes] | None = None,
    engines: Engines | None = None,
) -> Plan:
    """Plan the runs of a comparison.

    Parameters
    ----------
    declaration : Declaration
        What is compared.
    directory : Path
        The comparison's directory.
    tuned : mapping, optional
        Changes that tuning found, by method.
    engines : Engines, optional
        How clients were trained when the comparison began; None: it is chosen now.

    Raises
    ------
    UsageError
        A method does not fit its scenario, or no rule can run.
    """
    found, protocol = tuned or {}, declaration.protocol
    made = {
        dataset: {
            method.label: declaration.scenario(dataset, method, found.get(method.label, ()))
            for method in protocol.methods
        }
        for dataset in protocol.datasets
    }
    if engines is None:
        first = {
            dataset: {label: declaration.seeded(one, protocol.seeds[0]) for label, one in methods.items()}
            for dataset, methods in made.items()
        }
        references = frozenset(method.label for method in protocol.methods if method.reference)
        engines = choose(first, references)
    cells = []
    for seed in protocol.seeds:
        for dataset, methods in made.items():
            for label, scenario in methods.items():
                pinned = engines.pin(dataset, label, declaration.seeded(scenario, seed))
                at = address(pinned)
                cells.append(Cell(dataset, label, seed, pinned, at, directory / RUNS / at))
    return Plan(declaration, found, engines, tuple(cells))


def share(cells: Sequence[Cell], text: str) -> tuple[Cell, ...]:
    """Return the cells of a shard such as ``3/20``: whole seeds, or at least whole pairs, where there are enough.

    Raises
    ------
    UsageError
        The text is none, or there are fewer runs than shards.
    """
    first, _, last = text.partition("/")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise UsageError(f"--shard {text}: write which of how many, as in --shard 3/20, from 1 on.")
    number, count = int(first), int(last)
    groups: list[list[object]] = [
        list(dict.fromkeys(cell.seed for cell in cells)),
        list(dict.fromkeys((cell.seed, cell.dataset) for cell in cells)),
        list(dict.fromkeys((cell.seed, cell.dataset, cell.method) for cell in cells)),
    ]
    for keys in groups:
        if len(keys) >= count:
            mine = set(keys[number - 1 :: count])
            return tuple(
                cell
                for cell in cells
                if mine & {cell.seed, (cell.seed, cell.dataset), (cell.seed, cell.dataset, cell.method)}
            )
    raise UsageError(f"--shard {text}: there are {len(groups[-1])} runs; take at most as many shards.")


def with_reasons(cells: Sequence[Cell], reasons: Mapping[str, str]) -> tuple[Cell, ...]:
    """Return cells with why they failed, by address."""
    return tuple(replace(cell, reason=reasons.get(cell.address)) for cell in cells)
