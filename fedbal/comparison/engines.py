"""One engine for all rules of a comparison: chosen before anything runs, and written into every scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedbal.assembly import assemble
from fedbal.backend import choose_device
from fedbal.engine import recorded
from fedbal.errors import FedbalError, UsageError
from fedbal.scenario import Scenario
from fedbal.sweep_worker import Federations

START_SECONDS = 1.0
"""What a run takes besides training: assembling, evaluating, writing. Rough."""


@dataclass
class Engines:
    """How the clients of each method are trained.

    Attributes
    ----------
    chosen : dict
        By data set and method what of ``runtime`` decides the engine.
    seconds : dict
        By data set and method a rough wall time of one run in one process.
    notes : list of str
        What was decided for the user, each a sentence.
    """

    chosen: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def pin(self, dataset: str, method: str, scenario: Scenario) -> Scenario:
        """Return a scenario with its engine written into it."""
        chosen = self.chosen.get(dataset, {}).get(method)
        if chosen is None:
            return scenario
        return scenario.model_copy(update={"runtime": scenario.runtime.model_copy(update=chosen)})


def choose(scenarios: Mapping[str, Mapping[str, Scenario]], references: frozenset[str]) -> Engines:
    """Choose the engines of a comparison.

    What ``auto`` would choose differently for two rules is made the same: one by one if the clients of one rule
    can only be trained so, else the smaller chunk. Reference rows follow, but decide nothing.

    Parameters
    ----------
    scenarios : mapping
        By data set and method the scenario of the first seed.
    references : frozenset of str
        Labels of reference rows.

    Raises
    ------
    UsageError
        Not one of the compared rules can be assembled: data missing, no such device.
    """
    engines, federations = Engines(), Federations()
    for dataset, methods in scenarios.items():
        engines.chosen[dataset], engines.seconds[dataset] = {}, {}
        refused: dict[str, FedbalError] = {}
        for label, scenario in methods.items():
            try:
                assembly = assemble(scenario, choose_device(scenario.runtime), federations.of(scenario))
            except FedbalError as error:
                refused[label] = error
                continue
            runtime = recorded(scenario, assembly.clients.engine).runtime
            kept: dict[str, Any] = {"vectorize": runtime.vectorize, "compile": runtime.compile}
            engines.chosen[dataset][label] = {
                **kept,
                **({"chunk": runtime.chunk} if runtime.vectorize else {}),
            }
            engines.seconds[dataset][label] = START_SECONDS + assembly.load.seconds
        compared = [label for label in methods if label not in references]
        if all(label in refused for label in compared):
            raise UsageError(str(refused[compared[0]])) from refused[compared[0]]
        for label, reason in refused.items():
            engines.notes.append(f"{label} cannot run{_on(dataset)}: {reason}")
        _agree(engines, dataset, methods, references)
    return engines


def _agree(
    engines: Engines, dataset: str, methods: Mapping[str, Scenario], references: frozenset[str]
) -> None:
    chosen = engines.chosen[dataset]
    compared = {label: engine for label, engine in chosen.items() if label not in references}
    automatic = all(methods[label].runtime.vectorize == "auto" for label in compared)
    together = {bool(engine["vectorize"]) for engine in compared.values()}
    if len(together) > 1 and automatic:
        alone = [label for label, engine in compared.items() if not engine["vectorize"]]
        engines.notes.append(
            f"All clients are trained one by one{_on(dataset)}: those of {', '.join(alone)} can only be trained "
            "so, and one engine serves all rules."
        )
        for label, engine in chosen.items():
            if methods[label].runtime.vectorize == "auto":
                engine.update(vectorize=False, compile=False)
                engine.pop("chunk", None)
        return
    chunks = [engine["chunk"] for engine in compared.values() if "chunk" in engine]
    if len(set(chunks)) > 1 and all(methods[label].runtime.chunk == "auto" for label in compared):
        for label in compared:
            chosen[label]["chunk"] = min(chunks)


def _on(dataset: str) -> str:
    return f" with {dataset}" if dataset else ""
