"""Replay: what other rules would have made of the updates that a run recorded.

Every rule gets the same messages in each recorded round, through its own ``configure_train`` and
``aggregate_train``, from the model that the run had then. These are one-round counterfactuals: clients never train
from a replayed model, so nothing here says where a rule would have led.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedbal import fingerprints
from fedbal.assembly import Assembly, assemble
from fedbal.backend import choose_device
from fedbal.comparison.replay_round import Replayed, aggregate
from fedbal.comparison.replay_rules import Rule, refusal, rules_of
from fedbal.determinism import pinned
from fedbal.driver import prepared_test, quiet, read_fitted, require_same
from fedbal.errors import UsageError
from fedbal.evaluation import GlobalTest
from fedbal.frames import flatten, frame
from fedbal.protocol import Arrays
from fedbal.recorded import RecordedRound, load_round, recorded_rounds
from fedbal.results import PREPROCESS, SCENARIO, RunReader
from fedbal.scenario import Scenario, load

if TYPE_CHECKING:
    import pandas as pd

STRATEGIES = "fedavg,uniform,feddisco"
WHAT = (
    "one-round counterfactuals: each rule aggregated the updates that the run recorded, from the model that the "
    "run had in that round; where its own rounds would have led is not known"
)


@dataclass(frozen=True)
class Replay:
    """What rules made of recorded rounds.

    Attributes
    ----------
    content : dict
        Everything, ready for JSON: ``what``, ``directory``, ``scenario``, ``rule`` (label of the run's own),
        ``rounds``, ``refused`` (label to reason), ``notes``, and the rows of the three tables below.
    """

    content: dict[str, Any]

    @property
    def models(self) -> pd.DataFrame:
        """One line a round and rule: status, how the next model scores on the test set, whether it is the run's."""
        return frame(self.content["models"])

    @property
    def weights(self) -> pd.DataFrame:
        """One line a round, rule and client: the weight that the rule gave, in [0, 1]; empty if it says none."""
        return frame(self.content["weights"])

    @property
    def pairs(self) -> pd.DataFrame:
        """One line a round and pair of rules: cosine of their steps, Euclidean distance of their next models."""
        return frame(self.content["pairs"])


def replay(
    directory: str | Path,
    strategies: str | Sequence[str | Mapping[str, Any]] = STRATEGIES,
    rounds: Iterable[int] | None = None,
) -> Replay:
    """Feed the updates that a run recorded to other aggregation rules.

    Parameters
    ----------
    directory : str or Path
        A run directory with ``updates/``, from a run with ``runtime.record_updates``; it may still be growing.
    strategies : str or sequence of str or Mapping
        Rules: names, blocks such as ``{"name": "feddisco", "a": 0.3}``, or ``./file.py:Class``; as one text, YAML
        with commas between them. The run's own rule comes first in any case.
    rounds : iterable of int, optional
        Which recorded rounds; None: all.

    Raises
    ------
    UsageError
        Nothing is recorded, a round is not, a rule does not exist, or none of them can be replayed.
    RunError
        The recorded files are damaged, or the data have changed since.
    """
    reader = RunReader(directory)
    recorded = [load_round(reader.path, one) for one in _chosen(reader.path, rounds)]
    scenario = load(reader.path / SCENARIO)
    rules = rules_of(strategies, scenario)
    with quiet(), pinned(scenario.runtime.threads):
        assembly = assemble(scenario, choose_device(scenario.runtime))
        require_same(reader.fingerprints, assembly, "replay")
        preprocess = reader.path / PREPROCESS
        fitted = read_fitted(preprocess) if preprocess.exists() else None
        return _Session(reader, scenario, assembly, prepared_test(assembly, fitted), rules).run(recorded)


class _Session:
    """One replay of one run."""

    def __init__(
        self,
        reader: RunReader,
        scenario: Scenario,
        assembly: Assembly,
        test: GlobalTest,
        rules: Sequence[Rule],
    ) -> None:
        self._reader = reader
        self._scenario = scenario
        self._assembly = assembly
        self._test = test
        self._rules = rules
        self._notes: list[str] = []

    def run(self, recorded: Sequence[RecordedRound]) -> Replay:
        """Replay every rule in every round."""
        refused = {
            rule.label: reason
            for rule in self._rules
            if (reason := refusal(rule, self._scenario, self._assembly, recorded))
        }
        rules = [rule for rule in self._rules if rule.label not in refused]
        if not any(not rule.own for rule in rules) and refused:
            reasons = "; ".join(f"{label}: {reason}" for label, reason in refused.items())
            raise UsageError(f"none of these rules can be replayed on {self._reader.path}. {reasons}.")
        models: list[dict[str, Any]] = []
        weights: list[dict[str, Any]] = []
        pairs: list[dict[str, Any]] = []
        for one in recorded:
            replayed = [
                (rule, aggregate(rule, one, self._assembly, self._scenario.seed.training)) for rule in rules
            ]
            models += [self._model(rule, made, one) for rule, made in replayed]
            weights += [row for rule, made in replayed for row in _weights(rule, made, one)]
            pairs += _pairs([(rule.label, made.arrays) for rule, made in replayed], one)
        return Replay(
            {
                "what": WHAT,
                "directory": str(self._reader.path),
                "scenario": self._scenario.name,
                "rule": self._rules[0].label,
                "rounds": [one.round for one in recorded],
                "refused": refused,
                "notes": list(dict.fromkeys(self._notes)),
                "models": models,
                "weights": weights,
                "pairs": pairs,
            }
        )

    def _model(self, rule: Rule, made: Replayed, one: RecordedRound) -> dict[str, Any]:
        if made.note:
            self._notes.append(f"{rule.label}: {made.note}")
        if not one.complete:
            self._notes.append(
                f"round {one.round} has {len(one.replies)} of its {one.replied} replies; every rule saw these alone"
            )
        arrays = made.arrays
        return {
            "round": one.round,
            "rule": rule.label,
            "status": "failed" if arrays is None else "ok",
            "reason": made.reason,
            "recorded": len(one.replies),
            "replied": one.replied,
            "dropped": len(made.dropped),
            "as_run": fingerprints.of_arrays(arrays) == one.following if rule.own and arrays else None,
            "test": None if arrays is None else self._test(arrays),
        }


def _chosen(directory: Path, rounds: Iterable[int] | None) -> list[int]:
    there = recorded_rounds(directory)
    if not there:
        raise UsageError(
            f"{directory} has no recorded updates; run its scenario with --set runtime.record_updates=true."
        )
    wanted = there if rounds is None else sorted(set(rounds))
    missing = [one for one in wanted if one not in there]
    if missing or not wanted:
        given = ", ".join(map(str, missing)) or "none"
        raise UsageError(f"{directory} has not recorded round {given}; recorded: {_spans(there)}.")
    return wanted


def _spans(rounds: Sequence[int]) -> str:
    """Write ``1-5, 10`` for 1, 2, 3, 4, 5, 10."""
    spans: list[list[int]] = []
    for one in rounds:
        if spans and one == spans[-1][1] + 1:
            spans[-1][1] = one
        else:
            spans.append([one, one])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def _weights(rule: Rule, made: Replayed, one: RecordedRound) -> list[dict[str, Any]]:
    return [
        {
            "round": one.round,
            "rule": rule.label,
            "client": one.cohort[reply.node],
            "num_examples": reply.num_examples,
            "weight": made.weights.get(reply.node),
            "run_weight": one.weights.get(reply.node),
            "dropped": made.dropped.get(reply.node),
        }
        for reply in one.replies
    ]


def _pairs(made: Sequence[tuple[str, Arrays | None]], one: RecordedRound) -> list[dict[str, Any]]:
    """Compare the steps from the recorded model, over all floating arrays, in float64."""
    before = _flat(one.arrays)
    steps = [(label, _flat(arrays) - before) for label, arrays in made if arrays is not None]
    rows = []
    for index, (label, step) in enumerate(steps):
        for other, further in steps[index + 1 :]:
            length = float(np.linalg.norm(step) * np.linalg.norm(further))
            rows.append(
                {
                    "round": one.round,
                    "rule": label,
                    "other": other,
                    "cosine": float(np.clip(step @ further / length, -1.0, 1.0)) if length > 0 else None,
                    "distance": float(np.linalg.norm(step - further)),
                }
            )
    return rows


def _flat(arrays: Arrays) -> NDArray[np.float64]:
    parts = [
        value.astype(np.float64).ravel()
        for value in arrays.values()
        if np.issubdtype(value.dtype, np.floating)
    ]
    return np.concatenate([np.zeros(0), *parts])


def tables(content: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the three tables by name, nested metrics under dotted keys, lists left out."""
    return {
        name: [
            {key: value for key, value in flatten(row).items() if not isinstance(value, list)}
            for row in content[name]
        ]
        for name in ("models", "weights", "pairs")
    }
