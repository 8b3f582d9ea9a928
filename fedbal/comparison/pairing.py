"""What the runs of one seed share, found from their fingerprints: the same data, start, clients and minibatches.

A pair is full when two runs began with the same model on the same partition, asked the same clients in every
round, drew the same minibatches and met the same stragglers and dropouts. What a rule does otherwise by its nature
makes a pair partial, not void: the difference of the two runs then holds more luck than it had to. Runs on other
data are no pair at all and are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fedbal.comparison.history import fingerprints_of, scenario_of
from fedbal.comparison.records import RunRecord
from fedbal.errors import UsageError
from fedbal.registry import is_reference

Level = Literal["full", "partial"]

POOLED = "it trains on pooled data, with a client and minibatches of its own"
TENSORS = "it brings tensors of its own; those of the model begin alike"
INITIAL = "its initial model is another one"
COHORTS = "other clients took part"
BATCHES = "its minibatches are others (batch size, local work, steps or augmentation)"
SYSTEMS = "its stragglers, dropouts or speeds are others"


@dataclass(frozen=True)
class PairedMethod:
    """A method and the baseline on one data set.

    Attributes
    ----------
    dataset, method : str
        Whose pairs.
    seeds : int
        Seeds for which both have a run that came to an end.
    level : str
        ``full`` if every such pair is.
    reasons : tuple of str
        Why it is partial, each the end of a sentence about the method.
    """

    dataset: str
    method: str
    seeds: int
    level: Level
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pairing:
    """What the runs of each seed share.

    Attributes
    ----------
    baseline : str
        Label of the method that all others are paired with.
    level : str
        ``full`` if every method is fully paired; the centralised row, which cannot be, does not count.
    methods : tuple of PairedMethod
        Data set by data set, in the order in which the runs name them.
    notes : tuple of str
        What else differs between runs and may move a number, each a sentence: engine, packages, hardware, code.
    """

    baseline: str
    level: Level
    methods: tuple[PairedMethod, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Say in one sentence how far runs of one seed are pairs."""
        if self.level == "full":
            return (
                "Pairing is full: runs of one seed share partition, initial model, clients of every round, "
                "minibatches and stragglers."
            )
        partial: dict[tuple[str, ...], dict[str, None]] = {}
        for found in self.methods:
            if found.level == "partial" and POOLED not in found.reasons:
                partial.setdefault(found.reasons, {})[found.method] = None
        parts = [f"{', '.join(labels)}: {'; '.join(reasons)}" for reasons, labels in partial.items()]
        return f"Pairing is partial ({' | '.join(parts)}); runs of one seed share the data."


def check(records: Iterable[RunRecord], baseline: str = "fedavg") -> Pairing:
    """Compare the fingerprints of runs that came to an end.

    Parameters
    ----------
    records : iterable of RunRecord
        Every run; those without a directory, failed and open ones are passed over.
    baseline : str
        Label of the method that the others are paired with; if no run has it, the first method.

    Raises
    ------
    UsageError
        Runs of one seed and data set were made on different data.
    """
    ended = [
        record
        for record in records
        if record.directory is not None and record.status in ("finished", "diverged")
    ]
    runs = [_Run.of(record) for record in ended]
    labels = list(dict.fromkeys(run.method for run in runs))
    chosen = baseline if baseline in labels or not labels else labels[0]
    _require_same_data(runs)
    methods = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        here = [run for run in runs if run.dataset == dataset]
        base = {run.seed: run for run in here if run.method == chosen}
        for label in dict.fromkeys(run.method for run in here if run.method != chosen):
            pairs = [(run, base[run.seed]) for run in here if run.method == label and run.seed in base]
            methods.append(_paired(dataset, label, pairs))
    counted = [method for method in methods if POOLED not in method.reasons]
    level: Level = "full" if all(method.level == "full" for method in counted) else "partial"
    return Pairing(chosen, level, tuple(methods), tuple(_notes(runs)))


@dataclass(frozen=True)
class _Run:
    """A run's place and what it was made of."""

    dataset: str
    method: str
    seed: int
    prints: Mapping[str, Any]
    scenario: Mapping[str, Any]

    @classmethod
    def of(cls, record: RunRecord) -> _Run:
        assert record.directory is not None
        return cls(
            *(record.dataset, record.method, record.seed),
            *(fingerprints_of(record.directory), scenario_of(record.directory)),
        )

    @property
    def pools(self) -> bool:
        return bool(self.scenario["strategy"]["name"] == "centralised")

    @property
    def initial_model(self) -> Any:
        """Hash of the model's own tensors, without what a client update brings."""
        return self.prints.get("initial_model", self.prints.get("initial"))

    @property
    def systems(self) -> tuple[Any, Any]:
        """What stragglers and dropouts are drawn from."""
        return self.scenario["systems"], self.scenario["seed"]["training"]

    @property
    def own_code(self) -> bool:
        client = self.scenario["client"]
        parts = (self.scenario["strategy"], self.scenario["model"], *client.values())
        return any(isinstance(part, Mapping) and is_reference(str(part.get("name", ""))) for part in parts)


def _require_same_data(runs: Sequence[_Run]) -> None:
    first: dict[tuple[str, int], _Run] = {}
    for run in runs:
        other = first.setdefault((run.dataset, run.seed), run)
        if run.prints.get("partition") != other.prints.get("partition"):
            where = f" on {run.dataset}" if run.dataset else ""
            raise UsageError(
                f"{run.method} and {other.method} ran on different data{where} (seed {run.seed}: partition "
                f"{str(run.prints.get('partition'))[:12]} and {str(other.prints.get('partition'))[:12]}), so their "
                "results cannot be compared; give all methods the same data block and seeds, or vary the data "
                "with --vary, which compares within each variation."
            )


def _paired(dataset: str, label: str, pairs: Sequence[tuple[_Run, _Run]]) -> PairedMethod:
    found: dict[str, int] = {}
    for run, other in pairs:
        for reason in _reasons(run, other):
            found[reason] = found.get(reason, 0) + 1
    reasons = tuple(
        reason if count == len(pairs) else f"{reason} (in {count} of {len(pairs)} seeds)"
        for reason, count in found.items()
    )
    return PairedMethod(dataset, label, len(pairs), "partial" if reasons else "full", reasons)


def _reasons(run: _Run, other: _Run) -> list[str]:
    if run.pools != other.pools:
        return [POOLED]
    reasons = []
    if run.prints.get("initial") != other.prints.get("initial"):
        reasons.append(TENSORS if run.initial_model == other.initial_model else INITIAL)
    if run.prints.get("cohorts") != other.prints.get("cohorts"):
        # Whose minibatches are drawn follows from who takes part.
        reasons.append(COHORTS)
    elif run.prints.get("batches") != other.prints.get("batches"):
        reasons.append(BATCHES)
    if run.systems != other.systems:
        reasons.append(SYSTEMS)
    return reasons


def _notes(runs: Sequence[_Run]) -> list[str]:
    shipped = [run for run in runs if not run.own_code]
    several = len({run.prints.get("code") for run in shipped}) > 1
    return [
        *_differing("engine", runs, _engine),
        *_differing("packages", runs, _packages),
        *_differing("hardware", runs, _hardware),
        *(["Runs were made with different versions of fedbal's code."] if several else []),
    ]


def _differing(what: str, runs: Sequence[_Run], describe: Callable[[_Run], str]) -> list[str]:
    """Name every kind that occurs, and whose runs are of it."""
    kinds: dict[str, dict[str, None]] = {}
    for run in runs:
        kinds.setdefault(describe(run), {})[run.method] = None
    if len(kinds) < 2:
        return []
    named = [f"{text} ({', '.join(methods)})" for text, methods in kinds.items()]
    return [f"Runs differ in {what}: {'; '.join(named)}."]


def _engine(run: _Run) -> str:
    engine = run.prints.get("engine") or {}
    # How models travel follows from the rule and changes no number.
    return ", ".join(f"{key} {value}" for key, value in engine.items() if key not in ("exchange", "costs"))


def _packages(run: _Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in (run.prints.get("packages") or {}).items())


def _hardware(run: _Run) -> str:
    hardware = run.prints.get("hardware") or {}
    return ", ".join(str(hardware[key]) for key in ("processor", "gpu", "system") if hardware.get(key))
