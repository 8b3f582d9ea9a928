"""Contributions of a scenario's clients: retrained ground truth, its noise, and what FedCE's weights make of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedbal import fingerprints
from fedbal.assembly import refuse_preprocessing
from fedbal.contribution.correlation import kendall, pearson, spearman
from fedbal.contribution.ledger import Ledger
from fedbal.contribution.shapley import Coalition, exact_shapley, leave_one_out, truncated_monte_carlo
from fedbal.contribution.training import CoalitionTrainer, Metric, Rows
from fedbal.determinism import pinned
from fedbal.driver import quiet
from fedbal.errors import UsageError
from fedbal.interrupts import Interrupted, Signals, StopRequested
from fedbal.results import disk_errors, to_json, write_atomically
from fedbal.scenario import Scenario, from_mapping

EXACT_CLIENTS = 8
REFERENCE_ROWS = ("local_only", "centralised")
RESULT = "contribution.json"
COALITION, REPEAT, FEDCE = "coalition", "repeat", "fedce"

Progress = Callable[[str, float, float], None]
"""Receives what was trained, its utility (NaN where there is none) and the seconds it took."""


@dataclass(frozen=True)
class Options:
    """What is computed.

    Attributes
    ----------
    metric : {"auto", "accuracy", "balanced_accuracy", "dice", "iou"}
        Utility of a model; auto is Dice for masks, accuracy for classes.
    rows : {"test", "validation"}
        Where it is measured.
    orders : int, optional
        Random orders of truncated Monte-Carlo; None: exact values, of at most 8 clients.
    repeats : int
        Training seeds of the noise floor, the scenario's own included, >= 1.
    """

    metric: Metric = "auto"
    rows: Rows = "test"
    orders: int | None = None
    repeats: int = 3


def contribution(
    scenario: Scenario, options: Options, out: Path, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Compute the contribution of every client with training data.

    Each coalition is trained anew from the same initial weights with the scenario's own rule; nobody's model is the
    initial one. Results are kept in ``out`` and used again when the computation is repeated.

    Parameters
    ----------
    scenario : Scenario
        What is trained.
    options : Options
        What is computed.
    out : Path
        Directory; new, empty, or that of the same computation.
    progress : callable
        Is told of every training.

    Returns
    -------
    dict
        As written to ``contribution.json``.

    Raises
    ------
    UsageError
        There are fewer than two clients, or too many for exact values; the scenario cannot be run.
    Interrupted
        On Ctrl-C or SIGTERM.
    """
    if scenario.strategy.name in REFERENCE_ROWS:
        raise UsageError(
            f"strategy: {scenario.strategy.name} makes no model that clients contribute to; take a rule that "
            "combines their models, such as fedavg."
        )
    refuse_preprocessing(scenario, "fedbal contribution")
    with Signals() as signals, quiet(), pinned(scenario.runtime.threads):
        try:
            trainer = CoalitionTrainer(scenario, signals, options.metric, options.rows)
            _require_feasible(len(trainer.names), options)
            with Ledger(out, _identity(scenario, trainer, options)) as ledger:
                found = _Computation(scenario, options, trainer, ledger, signals, progress).run()
                with disk_errors(out):
                    text = json.dumps(json.loads(to_json(found)), indent=2) + "\n"
                    write_atomically(out / RESULT, text.encode())
        except StopRequested as stop:
            raise Interrupted(
                f"{stop}; what was trained is kept, go on with the same command and --out {out}", stop.number
            ) from None
    return found


class _Computation:
    """One computation over a trainer and a ledger."""

    def __init__(
        self,
        scenario: Scenario,
        options: Options,
        trainer: CoalitionTrainer,
        ledger: Ledger,
        signals: Signals,
        progress: Progress,
    ) -> None:
        self._scenario = scenario
        self._options = options
        self._trainer = trainer
        self._ledger = ledger
        self._signals = signals
        self._progress = progress
        # Made before anything is trained: a scenario that FedCE cannot run must not fail at the end.
        self._with_fedce = with_fedce(scenario)
        self._names = trainer.names
        self._everyone = frozenset(range(len(self._names)))
        self._trained = 0

    def run(self) -> dict[str, Any]:
        """Train what is needed and put the result together."""
        options, n = self._options, len(self._names)
        # One set of workers at a time: a second one would wait for the cores that the first holds.
        with self._trainer:
            full = self._utility(self._everyone)
            nobody = self._utility(frozenset())
            values = self._values(n)
            single = leave_one_out(self._utility, n).tolist()
        noise = self._noise(full)
        fedce = self._fedce(values["shapley"], single)
        return {
            "scenario": self._scenario.name,
            "strategy": self._scenario.strategy.name,
            "rounds": self._scenario.rounds,
            "metric": self._trainer.metric,
            "rows": options.rows,
            "clients": self._names,
            "samples": self._trainer.samples,
            "nobody": nobody,
            "everyone": full,
            **values,
            "leave_one_out": single,
            "noise": noise,
            "fedce": fedce,
            "trained": self._trained,
            "notes": self._notes(),
        }

    def _notes(self) -> list[str]:
        assembly = self._trainer.assembly
        if assembly.cohort == len(self._names):
            return []
        return [
            f"a round asks {assembly.cohort} of {len(self._names)} clients, so that values hold the luck of the "
            "draw too; cohort.fraction=1 asks everyone."
        ]

    def _utility(self, coalition: Coalition) -> float:
        key = json.dumps([self._names[client] for client in sorted(coalition)])
        title = "nobody" if not coalition else ", ".join(json.loads(key))
        value = self._ledger.result(
            COALITION, key, lambda: self._timed(title, lambda: self._trainer.utility(coalition))
        )
        return float(value)

    def _values(self, n: int) -> dict[str, Any]:
        options = self._options
        if options.orders is None:
            exact = exact_shapley(self._utility, n).tolist()
            return {"method": "exact", "shapley": exact, "standard_errors": None, "orders": None}
        seed = self._scenario.seed.training
        estimate = truncated_monte_carlo(self._utility, n, options.orders, seed)
        return {
            "method": "truncated Monte-Carlo",
            "shapley": estimate.values.tolist(),
            "standard_errors": estimate.standard_errors.tolist(),
            "orders": estimate.orders,
            "skipped": estimate.skipped,
        }

    def _noise(self, full: float) -> dict[str, Any]:
        """Train everyone with further training seeds: how far utilities move by chance."""
        seeds = self._scenario.seed
        further = range(seeds.training + 1, seeds.training + self._options.repeats)
        values = [full, *(self._repeated(seed) for seed in further)]
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return {"training_seeds": len(values), "utilities": values, "std": std}

    def _repeated(self, seed: int) -> float:
        return float(self._ledger.result(REPEAT, str(seed), lambda: self._repeat(seed)))

    def _repeat(self, seed: int) -> float:
        options = self._options
        seeds = self._scenario.seed.model_copy(update={"training": seed})
        scenario = self._scenario.model_copy(update={"seed": seeds})
        with CoalitionTrainer(scenario, self._signals, options.metric, options.rows) as trainer:
            return self._timed(f"everyone, training seed {seed}", lambda: trainer.utility(self._everyone))

    def _fedce(self, shapley: Sequence[float], single: Sequence[float]) -> dict[str, Any]:
        """Run FedCE on everyone and compare its final weights with the values."""
        scenario = self._with_fedce
        if scenario.data.validation == 0:
            return {"weights": None, "reason": "FedCE needs validation rows: set data.validation."}
        weights = self._ledger.result(FEDCE, "weights", lambda: self._fedce_weights(scenario))
        missing = [name for name in self._names if weights.get(name) is None]
        if missing:
            reason = (
                f"FedCE gave no weight to {', '.join(missing)} (no validation rows, or never a valid reply)."
            )
            return {"weights": weights, "reason": reason}
        ordered = [weights[name] for name in self._names]
        return {
            "weights": weights,
            "reason": None,
            "spearman": {"shapley": spearman(ordered, shapley), "leave_one_out": spearman(ordered, single)},
            "kendall": {"shapley": kendall(ordered, shapley), "leave_one_out": kendall(ordered, single)},
            "pearson": {"shapley": pearson(ordered, shapley), "leave_one_out": pearson(ordered, single)},
        }

    def _fedce_weights(self, scenario: Scenario) -> dict[str, float | None]:
        options = self._options
        with CoalitionTrainer(scenario, self._signals, options.metric, options.rows) as trainer:
            started = time.perf_counter()
            state = trainer.train(self._everyone).strategy
            self._trained += 1
            self._progress("FedCE on everyone", float("nan"), time.perf_counter() - started)
            by_node = dict(zip(state["nodes"].tolist(), state["weights"].tolist(), strict=True))
            return {name: by_node.get(trainer.node(client)) for client, name in enumerate(trainer.names)}

    def _timed(self, title: str, compute: Callable[[], float]) -> float:
        started = time.perf_counter()
        value = compute()
        self._trained += 1
        self._progress(title, value, time.perf_counter() - started)
        return value


def with_fedce(scenario: Scenario) -> Scenario:
    """Return the scenario with FedCE and its client update, everyone in every round.

    A scenario that already uses FedCE keeps its parameters and its client update.
    """
    raw = scenario.resolved()
    raw["cohort"] = {"fraction": 1.0}
    if scenario.strategy.name != "fedce":
        raw["strategy"] = "fedce"
        raw["client"] = {key: value for key, value in raw["client"].items() if key != "update"}
    return from_mapping(raw)


def _require_feasible(clients: int, options: Options) -> None:
    if clients < 2:
        raise UsageError(
            "contributions compare clients, but only one client has training data; make at least 2 clients."
        )
    if options.orders is None and clients > EXACT_CLIENTS:
        raise UsageError(
            f"{clients} clients have training data: exact values train every coalition ({2**clients}) and are for "
            f"up to {EXACT_CLIENTS} clients; give --orders M for truncated Monte-Carlo over M random orders (at "
            f"most {clients} trainings each), or make fewer clients."
        )


def _identity(scenario: Scenario, trainer: CoalitionTrainer, options: Options) -> dict[str, Any]:
    assembly = trainer.assembly
    decides = {
        key: value
        for key, value in scenario.resolved().items()
        if key not in ("runtime", "evaluation", "track")
    }
    return {
        "scenario": decides,
        "metric": trainer.metric,
        "rows": options.rows,
        "partition": assembly.federation.fingerprint(),
        "initial": fingerprints.of_arrays(assembly.complete),
        "code": fingerprints.of_code(assembly.user_files),
        "device": assembly.clients.device,
        "threads": scenario.runtime.threads,
    }
