"""What a run writes down: rows, totals, running hashes, checkpoints, the summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import RecordDict

from fedbal import checkpoint
from fedbal.checkpoint import Snapshot
from fedbal.fingerprints import chain
from fedbal.grid.state import ClientStates
from fedbal.measures.base import ClientResult
from fedbal.observer import Observer
from fedbal.population import Population
from fedbal.protocol import Arrays
from fedbal.results import CLIENTS, ROUNDS, RunDirectory
from fedbal.systems import Directive
from strategies.report import RoundReport

AfterRound = Callable[[int, Arrays], None]
"""Is given a round and its global model."""

CHECKPOINT_SHARE = 0.01
"""Checkpoints may take this share of the time; a run that lost some rounds repeats them with the same bytes."""
MAX_SECONDS_BETWEEN = 60.0


@dataclass
class Totals:
    """Running totals of a run, kept in every checkpoint."""

    seconds: float = 0.0
    simulated_seconds: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0
    cohorts: str = ""
    batches: str = ""
    last_test: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    diverged: bool = False
    class_counts: list[int] | None = None
    """Training samples of each class over all clients, if a loss asks for them."""
    reduced: int | None = None
    """Fewest clients that were trained at once because a device was full."""

    def add(self, row: Mapping[str, Any], arrays: Arrays, headline: str = "balanced_accuracy") -> None:
        """Take a round's row into account; the best round is the one with the highest ``headline``."""
        self.seconds += row["seconds"]
        self.simulated_seconds += row["simulated_seconds"]
        self.bytes_up += row["bytes_up"]
        self.bytes_down += row["bytes_down"]
        test = row["test"]
        if test is not None:
            self.last_test = dict(test)
            score = test[headline]
            if score is not None and (self.best is None or score > self.best[headline]):
                self.best = {"round": row["round"], **test}
            # A test set without samples has no loss either.
            self.diverged |= test["loss"] is None and test["samples"] > 0
        if not all(np.isfinite(value).all() for value in arrays.values()):
            self.diverged = True


class Journal:
    """Writes a run down, each round as one transaction.

    Parameters
    ----------
    directory : RunDirectory
        Where.
    observer : Observer
        Who watches.
    totals : Totals
        Totals up to the round from which the run starts.
    headline : str
        Metric of a test by which the best round is found.
    after_round : callable, optional
        Is given every recorded round and its model, which it must not change.
    """

    def __init__(
        self,
        directory: RunDirectory,
        observer: Observer,
        totals: Totals,
        headline: str = "balanced_accuracy",
        after_round: AfterRound | None = None,
    ) -> None:
        self.directory = directory
        self._headline = headline
        self.totals = totals
        self.latest: Snapshot | None = None
        self._observer = observer
        self._after_round = after_round
        self._saved = time.perf_counter()
        self._cost = 0.0

    def record(
        self,
        row: dict[str, Any],
        clients: Sequence[Mapping[str, Any]],
        arrays: Arrays,
        *,
        strategy: Mapping[str, np.ndarray[Any, Any]],
        clients_state: Mapping[int, RecordDict] | ClientStates,
        cohort: Sequence[int],
        batches: Sequence[int],
        started: float,
        notes: Iterable[str],
    ) -> Snapshot:
        """Append a round's rows and checkpoint if it is time; returns the state after the round."""
        totals = self.totals
        totals.cohorts = chain(totals.cohorts, row["round"], cohort)
        totals.batches = chain(totals.batches, row["round"], batches)
        self.directory.append(CLIENTS, clients)
        row["seconds"] = time.perf_counter() - started
        totals.add(row, arrays, self._headline)
        lost = sum("non-finite" in (entry["reason"] or "") for entry in clients)
        totals.diverged |= 2 * lost > row["replied"]
        self.directory.append(ROUNDS, [row])
        self.note(notes)
        offsets = self.directory.offsets()
        self.latest = Snapshot(row["round"], arrays, strategy, clients_state, offsets, dict(vars(totals)))
        self._save_if_due()
        if self._after_round is not None:
            self._after_round(self.latest.round, arrays)
        self._observer.round_finished(row)
        return self.latest

    def note(self, notes: Iterable[str]) -> None:
        """Pass on and keep what a user should know, once."""
        for note in notes:
            if note not in self.totals.notes:
                self.totals.notes.append(note)
                self._observer.note(note)

    def save(self) -> None:
        """Checkpoint the latest finished round now."""
        if self.latest is not None:
            started = time.perf_counter()
            checkpoint.save(self.directory.path, self.latest)
            self._saved = time.perf_counter()
            self._cost = self._saved - started

    def _save_if_due(self) -> None:
        waited = time.perf_counter() - self._saved
        if waited >= min(self._cost / CHECKPOINT_SHARE, MAX_SECONDS_BETWEEN):
            self.save()


def client_rows(
    server_round: int,
    cohort: Sequence[int],
    population: Population,
    directives: Mapping[int, Directive],
    answered: Collection[int],
    report: RoundReport,
    scores: Mapping[int, ClientResult],
    seconds: Mapping[int, float],
    metric: str = "accuracy",
    missing: Mapping[int, str] | None = None,
) -> list[dict[str, Any]]:
    """Return one row for each client of the cohort: what it did and what the rule made of it.

    ``metric`` names the score of the received model: ``received_accuracy``, ``received_dice``; ``missing`` says why
    a node sent nothing, where the grid knows it.
    """
    rows = []
    for node in cohort:
        client = population.client(node)
        directive = directives.get(client, Directive())
        score = scores.get(node)
        status, reason = "ok", None
        if directive.excluded is not None:
            status, reason = directive.excluded, f"{directive.excluded}: its work does not count this round"
        elif node in report.dropped:
            status, reason = "dropped", report.dropped[node]
        elif node not in answered:
            status, reason = "missing", (missing or {}).get(node, "no reply")
        rows.append(
            {
                "round": server_round,
                "client": population.keys(client),
                "num_examples": int(population.samples[client]),
                "status": status,
                "reason": reason,
                "weight": report.weights.get(node),
                "local_work": directive.work,
                f"received_{metric}": score.value if score else None,
                "test_samples": score.n if score else None,
                **report.diagnostics.get(node, {}),
                "seconds": seconds.get(node) if node in answered else None,
            }
        )
    return rows
