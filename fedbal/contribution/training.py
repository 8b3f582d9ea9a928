"""Trains coalitions of one federation: the same data, initial weights, rule and streams, fewer clients."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

from clients.data import Split
from fedbal.assembly import Assembly, assemble
from fedbal.backend import choose_device, choose_placement, make_grid
from fedbal.checkpoint import Snapshot
from fedbal.contribution.shapley import Coalition
from fedbal.errors import RunError, UsageError
from fedbal.evaluation import GlobalTest
from fedbal.grid.base import VirtualGrid
from fedbal.interrupts import Signals
from fedbal.journal import Journal, Totals
from fedbal.loop import RoundLoop
from fedbal.measures.names import score_name
from fedbal.population import Population
from fedbal.protocol import Arrays
from fedbal.scenario import Scenario
from fedbal.virtual import training_pool
from strategies.base import AggregationRule
from strategies.cohort import CohortSampler

Metric = Literal["auto", "accuracy", "balanced_accuracy", "dice", "iou"]
Rows = Literal["test", "validation"]


class CoalitionTrainer:
    """Trains a scenario with some of its clients only, inside its context: that holds the workers.

    Clients are numbered by their position among those with training data. Who may be asked changes, and a cohort
    of a fixed size is at most the coalition; everything else, each client's minibatches included, is that of the
    scenario.

    Parameters
    ----------
    scenario : Scenario
        What is trained.
    signals : Signals
        Active signal handlers.
    metric : {"auto", "accuracy", "balanced_accuracy", "dice", "iou"}
        Utility of a model; auto is Dice for masks, accuracy for classes.
    rows : {"test", "validation"}
        Where it is measured: the global test set, or the validation rows of all clients together.

    Raises
    ------
    UsageError
        The scenario cannot be run, its task has no such metric, or there are no such rows.
    RunError
        In a training of everyone, no client's reply could be used.
    """

    def __init__(self, scenario: Scenario, signals: Signals, metric: Metric, rows: Rows) -> None:
        device = choose_device(scenario.runtime)
        self.assembly = assemble(scenario, device)
        try:
            self.metric = score_name(metric, self.assembly.federation.dataset.task)
        except ValueError as error:
            raise UsageError(f"--metric: {error}.") from error
        self._signals = signals
        self._test = _test(self.assembly, rows, device)
        self._nodes = list(self.assembly.population.nodes)
        self._runtime = scenario.runtime
        self._grid: VirtualGrid | None = None

    def __enter__(self) -> Self:
        assembly = self.assembly
        self._grid = make_grid(
            choose_placement(self._runtime, assembly.load),
            self._runtime,
            assembly.clients,
            assembly.directory,
            self._nodes,
            assembly.systems.work.tolist(),
            assembly.cohort,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._grid is not None:
            self._grid.close()
            self._grid = None

    @property
    def names(self) -> list[str]:
        """Keys of the clients with training data."""
        population = self.assembly.population
        return [population.keys(population.client(node)) for node in self._nodes]

    @property
    def samples(self) -> list[int]:
        """Training samples of these clients."""
        population = self.assembly.population
        return [int(population.samples[population.client(node)]) for node in self._nodes]

    def utility(self, coalition: Coalition) -> float:
        """Return the utility of what a coalition trains; of nobody, that of the initial model."""
        if not coalition:
            return self._score(self.assembly.initial)
        end, kept = self._run(coalition)
        if len(coalition) == len(self._nodes) and kept.reason and not kept.counted:
            raise RunError(
                f"no client's work counted in any of {end.round} rounds with everyone: {kept.reason}; "
                "contributions would all be 0."
            )
        return self._score(end.arrays)

    def node(self, client: int) -> int:
        """Return the node id of a client."""
        return self._nodes[client]

    def train(self, coalition: Coalition) -> Snapshot:
        """Train with these clients only and return the state after the last round."""
        return self._run(coalition)[0]

    def _run(self, coalition: Coalition) -> tuple[Snapshot, _LatestState]:
        if self._grid is None:
            raise RuntimeError("a CoalitionTrainer trains inside its `with` block")
        assembly = self.assembly
        members, kept = sorted(coalition), _LatestState()
        strategy = copy.deepcopy(assembly.strategy)
        if isinstance(strategy, AggregationRule) and strategy.context is not None:
            strategy.context = replace(strategy.context, num_clients=len(members))
        loop = RoundLoop(
            grid=self._grid,
            strategy=strategy,
            sampler=_sampler(assembly.sampler, members),
            population=_population(assembly.population, [self._nodes[client] for client in members]),
            systems=assembly.systems,
            schedule=assembly.schedule,
            test=lambda _: {},
            measures=assembly.test.measures,
            journal=kept,
            signals=self._signals,
            asks_counts=assembly.asks_counts,
        )
        return loop.run(Snapshot(0, assembly.initial, strategy=assembly.initial_strategy_state)), kept

    def _score(self, arrays: Arrays) -> float:
        return float(self._test(arrays)[self.metric])


class _LatestState(Journal):
    """Writes nothing down: the state after a round is all that the next one needs.

    Attributes
    ----------
    counted : int
        Replies that counted.
    reason : str
        Why the first reply that did not count was left out; empty without such a reply.
    """

    def __init__(self) -> None:
        self.totals = Totals()
        self.counted = 0
        self.reason = ""

    def record(
        self,
        row: dict[str, Any],
        clients: Sequence[Mapping[str, Any]],
        arrays: Arrays,
        *,
        strategy: Mapping[str, Any],
        **rest: Any,
    ) -> Snapshot:
        """Return the state after the round."""
        self.counted += sum(entry["status"] == "ok" for entry in clients)
        failed = [entry for entry in clients if entry["status"] in ("dropped", "missing")]
        if failed and not self.reason:
            self.reason = f"client {failed[0]['client']}, {failed[0]['reason']}"
        return Snapshot(row["round"], arrays, strategy, rest["clients_state"])


def _test(assembly: Assembly, rows: Rows, device: str) -> GlobalTest:
    if rows == "test":
        if not len(assembly.test.split):
            raise UsageError("the data have no global test rows; measure contributions with --on validation.")
        return assembly.test
    federation = assembly.federation
    if not len(federation.validation.indices):
        raise UsageError("no client has validation rows; raise data.validation, or measure with --on test.")
    split = Split(training_pool(federation, device), federation.validation.indices)
    return replace(assembly.test, split=split)


def _population(everyone: Population, nodes: Sequence[int]) -> Population:
    """Return the members alone; nobody evaluates, for that changes no model."""
    return replace(everyone, nodes=list(nodes), testers=[], unseen=frozenset())


def _sampler(everyone: CohortSampler, members: Sequence[int]) -> CohortSampler:
    size = None if everyone.size is None else min(everyone.size, len(members))
    if not len(everyone.sizes):
        return replace(everyone, size=size)
    return replace(everyone, size=size, sizes=everyone.sizes[members], classes=everyone.classes[members])
