"""What a comparison declares before it runs, and what is known of each of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

RunStatus = Literal["finished", "diverged", "failed", "open"]
"""``failed``: it came to no end and says why; ``open``: it has not been run to its end yet."""


@dataclass(frozen=True)
class Outcome:
    """A number by which runs are compared.

    Attributes
    ----------
    name : str
        Dotted place in a row of ``rounds.jsonl``: ``test.balanced_accuracy``.
    label : str
        What tables and axes call it.
    higher : bool
        Whether more is better.
    share : float
        Mean over the evaluated rounds in this last share of all rounds, in (0, 1]; 0: the last round alone.
    chance : float or None
        Value of a model that guesses: what a diverged run counts as; None if there is none.
    percent : bool
        Whether tables show it times 100.
    """

    name: str = "test.balanced_accuracy"
    label: str = "balanced accuracy"
    higher: bool = True
    share: float = 0.1
    chance: float | None = None
    percent: bool = True


@dataclass(frozen=True)
class Method:
    """One side of a comparison.

    Attributes
    ----------
    label : str
        What tables call it; unique.
    overrides : tuple of str
        What it changes in the base scenario, as ``--set`` takes it.
    reference : bool
        Whether it is a reference row: shown in every table, in no family of tests.
    tests : str
        Place of its primary outcome instead of the declared one, for rows that have no common model
        (``personal.balanced_accuracy`` of local training); empty: the declared one.
    """

    label: str
    overrides: tuple[str, ...] = ()
    reference: bool = False
    tests: str = ""


@dataclass(frozen=True)
class Look:
    """One look at the results: how many seeds were complete, and when.

    Attributes
    ----------
    seeds : int
        Different seeds that it saw.
    alpha : float
        Level of this look for differences, in [0, 1).
    time : str
        UTC, ISO 8601.
    alpha_equivalence : float, optional
        What it spent on tests of equivalence; None: the same.
    decided : tuple
        Data set, method and verdict of every contrast that was decided by then; later looks keep them.
    """

    seeds: int
    alpha: float
    time: str
    alpha_equivalence: float | None = None
    decided: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Protocol:
    """What was declared before the runs.

    Attributes
    ----------
    name : str
        Of the scenario.
    methods : tuple of Method
        In the order of the declaration, reference rows after the others.
    baseline : str
        Label of the method that all others are compared with.
    datasets : tuple of str
        Labels of the variations (``data.partition.alpha=0.1``); one empty text if nothing is varied.
    seeds : tuple of int
        Of each method on each data set.
    primary : Outcome
        The one outcome that verdicts are about.
    margin : float
        Largest difference that counts as equivalent, in the primary outcome's unit.
    alpha : float
        Family-wise error that the verdicts may make.
    planned_seeds : int
        Seeds that were planned when the comparison began.
    looks : tuple of Look
        Every look so far, this one included.
    budget : tuple of str and float, optional
        Unit (``rounds``, ``bytes``, ``client_seconds``) and amount that every run is cut to.
    target : float, optional
        Value of the primary outcome whose time is measured; None: 90 % of the best rule's mean.
    seed_axes : tuple of str
        What a seed sets of the scenario's ``seed``: ``partition``, ``init``, ``training``.
    """

    name: str
    methods: tuple[Method, ...]
    baseline: str = "fedavg"
    datasets: tuple[str, ...] = ("",)
    seeds: tuple[int, ...] = ()
    primary: Outcome = Outcome()
    margin: float = 0.005
    alpha: float = 0.05
    planned_seeds: int = 0
    looks: tuple[Look, ...] = ()
    budget: tuple[str, float] | None = None
    target: float | None = None
    seed_axes: tuple[str, ...] = ("partition", "init", "training")


@dataclass(frozen=True)
class RunRecord:
    """One run of a comparison.

    Attributes
    ----------
    dataset, method, seed
        Its place: label of the variation, label of the method, seed.
    status : str
        How it ended.
    directory : Path, optional
        Its run directory, if there is one.
    reason : str, optional
        Why it failed, in one sentence.
    values : mapping
        Outcomes by place and name: ``{"test.balanced_accuracy": .71, "test.few": .4, ...}``, over the window of the
        primary outcome, None where a metric does not exist; of a diverged run chance level.
    dropped : int
        Replies that the rule did not use.
    """

    dataset: str
    method: str
    seed: int
    status: RunStatus
    directory: Path | None = None
    reason: str | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)
    dropped: int = 0
