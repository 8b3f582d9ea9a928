"""Records the replies of chosen rounds and clients while a run goes on, for ``fedbal replay``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedbal import fingerprints
from fedbal.errors import UsageError
from fedbal.protocol import LABEL_COUNTS, Arrays
from fedbal.recorded import RecordedRound, path_of, recorded_rounds, save_round
from fedbal.results import UPDATES
from fedbal.scenario import Scenario
from fedbal.scenario_blocks import RecordUpdatesBlock
from fedbal.seeding import stream
from fedbal.terminal import megabytes
from strategies.base import AggregationRule
from strategies.report import RoundReport
from strategies.validation import ClientReply

if TYPE_CHECKING:
    from fedbal.assembly import Assembly

AS_THE_MODEL = "as large as the model"
"""How a rule's manifest names the size of arrays that clients send beside the model."""


@dataclass(frozen=True)
class Recorder:
    """Chooses what is recorded, and writes it.

    Attributes
    ----------
    directory : Path
        The run directory.
    choice : RecordUpdatesBlock
        What the scenario asks for.
    rounds : int
        Rounds of the run.
    cohort : int
        Clients of a round.
    seed : int
        Training seed.
    model_bytes : int
        Bytes of the tensors that travel.
    arrays : int
        Array records of a reply that are as large as the model, itself included.
    known : callable
        Node id to extras that the simulation knows without asking.
    """

    directory: Path
    choice: RecordUpdatesBlock
    rounds: int
    cohort: int
    seed: int
    model_bytes: int
    arrays: int
    known: Callable[[int], dict[str, Any]]

    @property
    def extras(self) -> Sequence[str]:
        """What the clients of a recorded round are asked for beside what the rule asks."""
        return tuple(self.choice.extras)

    def chosen(self, server_round: int, cohort: Sequence[int]) -> list[int]:
        """Return whose replies of a round are recorded: nodes of the cohort, ascending; none in other rounds."""
        if not self._records(server_round):
            return []
        count = self.choice.clients
        if count is None or count >= len(cohort):
            return sorted(cohort)
        draw = stream(self.seed, "recorded", server_round)
        return sorted(draw.choice(np.asarray(cohort), count, replace=False).tolist())

    def write(
        self,
        server_round: int,
        arrays: Arrays,
        following: Arrays,
        replies: Sequence[ClientReply],
        replied: int,
        cohort: Mapping[int, str],
        report: RoundReport,
        state: Mapping[str, NDArray[Any]],
        chosen: Sequence[int],
    ) -> None:
        """Write a round.

        Parameters
        ----------
        server_round : int
            Which.
        arrays, following : Arrays
            The global model before and after it.
        replies : sequence of ClientReply
            The valid replies of the chosen clients.
        replied : int
            Valid replies of all clients.
        cohort : mapping
            Node id to name of everyone who was asked, ascending.
        report : RoundReport
            What the rule made of the replies.
        state : mapping
            The rule's own state before the round.
        chosen : sequence of int
            Who was to be recorded.
        """
        recorded = RecordedRound(
            round=server_round,
            arrays=arrays,
            replies=replies,
            cohort=cohort,
            replied=replied,
            dropped={cohort[node]: reason for node, reason in report.dropped.items() if node in chosen},
            weights=report.weights,
            state=state,
            following=fingerprints.of_arrays(following),
            known={reply.node: self._unasked(reply) for reply in replies},
        )
        save_round(self.directory, recorded)

    def cut(self, done: int) -> None:
        """Remove what was recorded after round ``done``, from which the run goes on."""
        for server_round in recorded_rounds(self.directory):
            if server_round > done:
                # The json goes first: without it the arrays do not count.
                path = path_of(self.directory, server_round)
                path.unlink()
                path.with_suffix(".safetensors").unlink(missing_ok=True)

    def announcement(self) -> str:
        """Say how much will be written."""
        return (
            f"the updates of {self._clients} clients in {self._planned} rounds are recorded in {UPDATES}, about "
            f"{megabytes(self._bytes)}"
        )

    def require_space(self) -> None:
        """Refuse a run whose updates the disk cannot hold."""
        free = shutil.disk_usage(self.directory).free
        if self._bytes > free:
            raise UsageError(
                f"runtime.record_updates writes about {megabytes(self._bytes)} ({self._clients} clients in "
                f"{self._planned} rounds) and {self.directory} has {megabytes(free)} left; record fewer rounds "
                "(every, rounds) or clients, or choose another --out."
            )

    def _records(self, server_round: int) -> bool:
        if self.choice.rounds is not None:
            return server_round in self.choice.rounds
        return server_round % (self.choice.every or 1) == 0

    def _unasked(self, reply: ClientReply) -> dict[str, Any]:
        return {name: value for name, value in self.known(reply.node).items() if name not in reply.extras}

    @property
    def _planned(self) -> int:
        return sum(self._records(server_round) for server_round in range(1, self.rounds + 1))

    @property
    def _clients(self) -> int:
        return min(self.choice.clients or self.cohort, self.cohort)

    @property
    def _bytes(self) -> int:
        return self._planned * (self._clients * self.arrays + 1) * self.model_bytes


def recorder_of(scenario: Scenario, assembly: Assembly, directory: Path) -> Recorder | None:
    """Return the recorder that a scenario asks for, if it does.

    Parameters
    ----------
    scenario : Scenario
        The scenario.
    assembly : Assembly
        Its parts.
    directory : Path
        The run directory.
    """
    choice = scenario.runtime.record_updates
    if choice is None:
        return None
    federation, population, strategy = assembly.federation, assembly.population, assembly.strategy
    counts = federation.label_counts() if federation.counted_classes else None

    def known(node: int) -> dict[str, Any]:
        return {} if counts is None else {LABEL_COUNTS: counts[population.client(node)].tolist()}

    manifest = strategy.manifest if isinstance(strategy, AggregationRule) else ()
    return Recorder(
        directory=directory,
        choice=choice,
        rounds=scenario.rounds,
        cohort=assembly.cohort,
        seed=scenario.seed.training,
        model_bytes=sum(value.nbytes for value in assembly.initial.values()),
        arrays=1 + sum(one.size == AS_THE_MODEL for one in manifest),
        known=known,
    )
