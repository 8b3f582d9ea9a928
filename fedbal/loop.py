"""The round loop: sample, configure, train, aggregate, evaluate, record, checkpoint.

fedbal owns the loop because Flower's ``Strategy.start`` can neither resume nor record; it calls the public hooks
of any Flower strategy and runs on any Flower grid.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedbal import fingerprints, protocol
from fedbal.checkpoint import Snapshot
from fedbal.class_counts import ClassCounts, ask_class_counts
from fedbal.cohort_round import CohortRound, bytes_of
from fedbal.credit import credit
from fedbal.errors import RunError
from fedbal.evaluation import client_columns, evaluate_on_clients, evaluation_content, read_evaluations
from fedbal.exchange import reads_evaluations
from fedbal.final_clients import final_table
from fedbal.foreign import restore_state, state_of
from fedbal.grid.base import VirtualGrid
from fedbal.grid.exchange import evaluate_cohort
from fedbal.grid.riding import RidingGrid
from fedbal.interrupts import Signals
from fedbal.journal import Journal, client_rows
from fedbal.measures.base import Evaluated, Measures
from fedbal.offered import OfferedGrid
from fedbal.population import Population
from fedbal.protocol import Arrays, to_record
from fedbal.recording import Recorder
from fedbal.results import FINAL_CLIENTS
from fedbal.systems import Systems
from strategies.base import AggregationRule
from strategies.cohort import CohortSampler

T = TypeVar("T")


@dataclass(frozen=True)
class Schedule:
    """When to stop and when to evaluate.

    Attributes
    ----------
    rounds : int
        Rounds of the run.
    every : int
        Evaluate in every such round; the last round always is.
    cohort_evaluates : bool
        Whether the round's cohort evaluates instead of a fixed set of clients.
    min_client_samples : int
        Clients with fewer test samples are left out of the spread over clients.
    timeout : float, optional
        Seconds to wait for replies.
    """

    rounds: int
    every: int = 1
    cohort_evaluates: bool = False
    min_client_samples: int = 30
    timeout: float | None = None

    def evaluates(self, server_round: int) -> bool:
        """Tell whether a round is evaluated."""
        return server_round % self.every == 0 or server_round == self.rounds


class RoundLoop:
    """Runs the rounds of one run.

    Parameters
    ----------
    grid : Grid
        Where messages go.
    strategy : Strategy
        fedbal's or any other Flower strategy.
    sampler : CohortSampler
        Who is offered to it.
    population : Population
        Whom to choose from.
    systems : Systems
        Stragglers, dropouts, simulated clock.
    schedule : Schedule
        Rounds and evaluation.
    test : callable
        Evaluates a model on the global test set; None where there is none.
    measures : Measures
        What is measured on the task.
    journal : Journal
        Records every round.
    signals : Signals
        Shields the transaction of a round.
    asks_counts : bool
        Whether clients are asked for their class counts once, and told the sum with every model.
    probe : callable, optional
        What else to measure of a model when it is tested; simulation only.
    preprocess : ArrayRecord, optional
        Imputation and scaling, sent with every message.
    recorder : Recorder, optional
        Keeps replies of clients, if the run does.
    """

    def __init__(
        self,
        *,
        grid: Grid,
        strategy: Strategy,
        sampler: CohortSampler,
        population: Population,
        systems: Systems,
        schedule: Schedule,
        test: Callable[[Arrays], dict[str, Any] | None],
        measures: Measures[Any],
        journal: Journal,
        signals: Signals,
        asks_counts: bool = False,
        probe: Callable[[Arrays], dict[str, Any]] | None = None,
        preprocess: ArrayRecord | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._grid = grid
        self._strategy = strategy
        self._sampler = sampler
        self._population = population
        self._systems = systems
        self._schedule = schedule
        self._test = test
        self._measures = measures
        self._journal = journal
        self._signals = signals
        self._asks_counts = asks_counts
        self._probe = probe
        self._counted: ClassCounts | None = None
        self._preprocess = preprocess
        self._recorder = recorder
        self._seed = sampler.seed
        self._trainer = CohortRound(
            grid=grid,
            strategy=strategy,
            seed=sampler.seed,
            cohort=sampler.count(len(population.nodes)),
            timeout=schedule.timeout,
            preprocess=preprocess,
        )
        self._opening_up = self._opening_down = 0

    def run(self, start: Snapshot) -> Snapshot:
        """Run the rounds after ``start`` and return the state after the last one."""
        snapshot = start
        restore_state(self._strategy, start.strategy)
        if isinstance(self._grid, VirtualGrid):
            self._grid.states.restore(start.clients)
        if start.round == 0:
            self._opening()
        if self._asks_counts and self._journal.totals.class_counts is None:
            self._count_classes()
        for server_round in range(start.round + 1, self._schedule.rounds + 1):
            snapshot = self._round(server_round, snapshot.arrays)
        return snapshot

    def _opening(self) -> None:
        """Let a rule ask clients something before round 1; its bytes are counted in that round."""
        strategy = self._strategy
        if not isinstance(strategy, AggregationRule):
            return
        offered = OfferedGrid(self._grid, self._population.nodes)
        messages = self._before_rounds(lambda: list(strategy.configure_opening(offered)))
        if not messages:
            return
        messages = sorted(
            map(self._trainer.prepared, messages), key=lambda message: message.metadata.dst_node_id
        )
        replies = list(self._grid.send_and_receive(messages, timeout=self._schedule.timeout))
        self._before_rounds(lambda: strategy.aggregate_opening(replies))
        self._opening_up, self._opening_down = bytes_of(replies), bytes_of(messages)

    def _before_rounds(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except Exception as error:
            name = type(self._strategy).__name__
            raise RunError(f"{name} failed before round 1: {type(error).__name__}: {error}") from error

    def _round(self, server_round: int, arrays: Arrays) -> Snapshot:
        started = time.perf_counter()
        record = to_record(arrays)
        cohort = self._cohort(server_round)
        clients = [self._population.client(node) for node in cohort]
        directives = self._systems.directives(server_round, clients)
        testers = self._testers(server_round, cohort)
        received = self._received_scores(server_round, testers, record)
        by_node = {node: directives[client] for node, client in zip(cohort, clients, strict=True)}
        config = self._config(server_round)
        recorder = self._recorder
        chosen = recorder.chosen(server_round, cohort) if recorder else []
        extras = recorder.extras if recorder and chosen else ()
        # A rule may change its state in place.
        before = {name: value.copy() for name, value in state_of(self._strategy).items()} if chosen else {}
        trained = self._trainer.train(server_round, cohort, record, arrays, config, by_node, chosen, extras)
        following, report = trained.arrays, trained.report
        received = self._rode(received)
        test = self._test(following) if self._schedule.evaluates(server_round) else None
        columns = self._columns(testers, received, server_round - 1)
        if server_round == self._schedule.rounds:
            last = self._client_scores(server_round, testers, to_record(following))
            if last:
                table = final_table(last, self._key, self._measures.client_metric)
                self._journal.directory.write(FINAL_CLIENTS, table)
            for name, final in self._columns(testers, last, server_round).items():
                if final is not None:
                    columns[name] = {**(columns[name] or {}), "final": final}
        scores = {node: score.received for node, score in received.items()}
        rows = client_rows(
            *(server_round, cohort, self._population, directives, trained.answered, report),
            *(scores, trained.seconds, self._measures.client_metric, trained.missing),
        )
        row = {
            "round": server_round,
            "test": test,
            "train": trained.metrics,
            **columns,
            "credit": credit(rows),
            "simulated_seconds": self._systems.seconds(clients),
            "client_seconds": self._systems.client_seconds(directives),
            "bytes_up": trained.bytes_up + (self._opening_up if server_round == 1 else 0),
            "bytes_down": trained.bytes_down + (self._opening_down if server_round == 1 else 0),
            "sampled": len(cohort),
            "replied": trained.replied,
            "dropped": sum(entry["status"] != "ok" for entry in rows),
        }
        if self._probe is not None:
            row["dissimilarity"] = None if test is None else self._probe(following)
        if self._counted is not None:
            row["bytes_up"] += self._counted.bytes_up
            row["bytes_down"] += self._counted.bytes_down
            self._counted = None
        keys = {self._population.keys(client): int(self._population.samples[client]) for client in clients}
        with self._signals.shield():
            if recorder and chosen:
                names = {node: self._population.keys(self._population.client(node)) for node in cohort}
                recorder.write(
                    *(server_round, arrays, following, trained.recorded, trained.valid),
                    *(names, report, before, chosen),
                )
            if isinstance(self._grid, VirtualGrid):
                self._grid.states.commit()
            return self._journal.record(
                row,
                rows,
                following,
                strategy=state_of(self._strategy),
                clients_state=self._grid.states if isinstance(self._grid, VirtualGrid) else {},
                cohort=clients,
                batches=fingerprints.batch_keys(self._seed, server_round, keys),
                started=started,
                notes=[*report.notes, *self._grid_notes()],
            )

    def _grid_notes(self) -> list[str]:
        """Return what the grid has to say about its machines, once."""
        if not isinstance(self._grid, VirtualGrid):
            return []
        if self._grid.reduced is not None:
            before = self._journal.totals.reduced
            self._journal.totals.reduced = min(self._grid.reduced, before or self._grid.reduced)
        notes, self._grid.notes = self._grid.notes, []
        return notes

    def _count_classes(self) -> None:
        """Ask the clients that train for their class counts; its bytes are counted in the next round."""
        nodes = self._population.nodes
        self._counted = ask_class_counts(
            self._grid, nodes, self._measures.num_classes, self._schedule.timeout
        )
        if not any(self._counted.counts):
            reason = next(iter(self._counted.missing.values()), "they have no samples")
            raise RunError(f"no client gave its class counts, which the loss needs (prior: global): {reason}")
        if self._counted.missing:
            names = ", ".join(
                self._population.keys(self._population.client(node)) for node in self._counted.missing
            )
            self._journal.note(
                [f"class counts are without those of clients {names}, which did not give theirs"]
            )
        self._journal.totals.class_counts = self._counted.counts

    def _cohort(self, server_round: int) -> list[int]:
        """Choose whom to ask; what a user's own availability raises is one clear message."""
        try:
            return self._sampler.sample(server_round, self._population.nodes)
        except Exception as error:
            name = type(self._sampler.availability).__name__
            raise RunError(
                f"cohort.availability: {name} failed in round {server_round}: {type(error).__name__}: {error}"
            ) from error

    def _config(self, server_round: int) -> ConfigRecord:
        """Return what every client of a round is told."""
        config = ConfigRecord({protocol.SERVER_ROUND: server_round})
        if self._asks_counts:
            config[protocol.CLASS_COUNTS] = list(self._journal.totals.class_counts or ())
        return config

    def _testers(self, server_round: int, cohort: Sequence[int]) -> list[int]:
        """Return who evaluates this round: the testers, or those in the cohort, and the unseen clients."""
        if not self._schedule.evaluates(server_round):
            return []
        if self._schedule.cohort_evaluates:
            # Never a set of all testers: there may be a million of them.
            testers = [node for node in cohort if self._population.tests(node)]
        else:
            testers = list(self._population.testers)
        return sorted({*testers, *self._population.unseen})

    def _received_scores(
        self, server_round: int, testers: Sequence[int], record: ArrayRecord
    ) -> dict[int, Evaluated]:
        """Let clients evaluate the model of a round; on a grid of devices they do it while they train."""
        grid = self._grid
        if not testers or not isinstance(grid, RidingGrid) or reads_evaluations(self._strategy):
            return self._client_scores(server_round, testers, record)
        grid.ride(testers, evaluation_content(record, server_round, self._preprocess))
        return {}

    def _rode(self, received: dict[int, Evaluated]) -> dict[int, Evaluated]:
        """Return the scores that came with the training of a round, if they did."""
        if not isinstance(self._grid, RidingGrid):
            return received
        return received | read_evaluations(self._grid.rode(), self._measures)

    def _client_scores(
        self, server_round: int, testers: Sequence[int], record: ArrayRecord
    ) -> dict[int, Evaluated]:
        """Let clients evaluate a model: the one that they receive this round, or the final one."""
        if not testers:
            return {}
        counts = (self._journal.totals.class_counts or ()) if self._asks_counts else ()
        grid = self._grid
        if isinstance(grid, VirtualGrid) and grid.trains_cohorts and not reads_evaluations(self._strategy):
            content = evaluation_content(record, server_round, self._preprocess, counts)
            return evaluate_cohort(grid, testers, content, server_round, self._measures)
        scores, replies = evaluate_on_clients(
            *(grid, testers, record, server_round, self._measures),
            *(self._schedule.timeout, self._preprocess, counts),
        )
        known = [reply for reply in replies if reply.metadata.src_node_id not in self._population.unseen]
        self._strategy.aggregate_evaluate(server_round, [reply for reply in known if reply.has_content()])
        return scores

    def _key(self, node: int) -> str:
        return self._population.keys(self._population.client(node))

    def _columns(
        self, testers: Sequence[int], scores: Mapping[int, Evaluated], model_round: int
    ) -> dict[str, dict[str, Any] | None]:
        unseen, smallest = self._population.unseen, self._schedule.min_client_samples
        return client_columns(testers, scores, unseen, smallest, model_round, self._measures)
