"""What equal-budget tuning found; plain values that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from pydantic import TypeAdapter

TrialStatus = Literal["finished", "diverged", "failed"]


@dataclass(frozen=True)
class Setting:
    """What was searched for one knob of a method.

    Attributes
    ----------
    key : str
        Dotted key of the scenario (``strategy.mu``).
    space : str
        What was searched, in words (``0.001 to 10, log``).
    default : bool, int, float, str or None
        Value without tuning; None: left out.
    value : bool, int, float, str or None
        Value that was chosen.
    edge : str or None
        ``low`` or ``high`` where the chosen value lies within 5 % of that end and a better one may lie beyond.
    """

    key: str
    space: str
    default: Any
    value: Any
    edge: str | None = None


@dataclass(frozen=True)
class Trial:
    """One trial of a method.

    Attributes
    ----------
    number : int
        From 0, which is the method as it was declared.
    values : mapping
        Value of each knob by dotted key.
    overrides : tuple of str
        The same as changes of the scenario, as ``--set`` takes them; empty for trial 0.
    status : {"finished", "diverged", "failed"}
        How its run ended.
    score : float or None
        On the pooled validation rows; of a trial that diverged or failed what guessing scores, None if unknown.
    distance : float
        From the defaults, where each knob's space has length 1.
    directory : str
        Its run directory, relative to that of the tuning.
    reason : str or None
        Why it failed, in one sentence.
    """

    number: int
    values: Mapping[str, Any]
    overrides: tuple[str, ...]
    status: TrialStatus
    score: float | None
    distance: float
    directory: str
    reason: str | None = None

    def scored(self, score: float | None) -> Trial:
        """Return the trial with another score."""
        return replace(self, score=score)


@dataclass(frozen=True)
class Spent:
    """What all trials of a method took.

    Attributes
    ----------
    trials : int
        How many there were.
    rounds : int
        Rounds that they ran, all together.
    client_seconds : float
        Simulated seconds that clients worked, as in ``rounds.jsonl``, all together.
    bytes : int
        Up and down, all together.
    """

    trials: int
    rounds: int
    client_seconds: float
    bytes: int


@dataclass(frozen=True)
class Tuned:
    """What tuning found for one method.

    Attributes
    ----------
    label : str
        The method.
    overrides : tuple of str
        What the choice changes in the method, as ``--set`` takes it; empty if the method stays as declared.
    chosen : int
        Number of the chosen trial.
    settings : tuple of Setting
        What was searched, and what was chosen.
    trials : tuple of Trial
        All of them, by number.
    best_of : tuple of float or None
        Expected best score of 1, 2, ... N of these trials drawn without replacement.
    spent : Spent
        What they took.
    warnings : tuple of str
        Sentences: a choice at the edge of its space, trials that failed.
    """

    label: str
    overrides: tuple[str, ...]
    chosen: int
    settings: tuple[Setting, ...]
    trials: tuple[Trial, ...]
    best_of: tuple[float | None, ...]
    spent: Spent
    warnings: tuple[str, ...] = ()

    @property
    def score(self) -> float | None:
        """Validation score of the chosen trial; the best of several, so an optimistic one."""
        return self.trials[self.chosen].score


@dataclass(frozen=True)
class Tuning:
    """What tuning found for every method.

    Attributes
    ----------
    metric : str
        Score on the pooled validation rows (``balanced_accuracy``).
    higher : bool
        Whether more of it is better.
    trials : int
        Trials of each method.
    rounds : int
        Rounds of each trial.
    sampler : str
        How the points after the defaults were drawn.
    training_seed : int
        Seed of initial model, cohorts and minibatches of every trial.
    partition_seed : int
        Seed of the data's division.
    samples : int
        Validation rows of all clients together, by which trials were scored.
    methods : mapping of str to Tuned
        By label, in the order of the declaration.
    notes : tuple of str
        What a reader must know, each a sentence.
    """

    metric: str
    higher: bool
    trials: int
    rounds: int
    sampler: str
    training_seed: int
    partition_seed: int
    samples: int
    methods: Mapping[str, Tuned]
    notes: tuple[str, ...] = ()

    def overrides(self, label: str) -> tuple[str, ...]:
        """Return what the choice changes in a method; nothing for one that was not tuned."""
        tuned = self.methods.get(label)
        return () if tuned is None else tuned.overrides

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of all methods, in order."""
        return tuple(warning for tuned in self.methods.values() for warning in tuned.warnings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` described."""
        return TypeAdapter(cls).validate_python(dict(values))
