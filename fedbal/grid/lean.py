"""Cohorts that train and evaluate without a message a client: what a worker is told, keeps and answers.

One exchange: workers train and return all models, stacked. Two exchanges and a small third, for models that are too
large to move one by one: workers keep the models of their chunks and return numbers; told the weights, they return
one weighted sum for each chunk; told the mean update, how each client's lies to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict
from numpy.typing import NDArray

from clients.app import TrainingApp
from clients.jobs import TrainReply
from clients.scoring import Scored
from clients.turn import Turn
from fedbal import protocol
from fedbal.grid import flower
from fedbal.grid.gather import Gather
from fedbal.grid.work import NodeDirectory
from fedbal.protocol import Arrays, to_arrays
from strategies.alignment import products
from strategies.mean import Sums, maxima, weighted_sums
from strategies.stacked import StackedPart
from strategies.validation import signature_of_record

FROM_MODEL = ("train", "evaluate")
"""Steps that bring a model; the others are about models that a worker has kept."""
EVALUATED_AT_ONCE = 256
"""Clients whose data is looked up together for an evaluation; decides no number."""


class Asked(NamedTuple):
    """One client of a chunk."""

    node: int
    own: ConfigRecord | None
    """What it alone is told."""
    state: RecordDict | None
    """Its state before the round, if it has any."""


@dataclass(frozen=True)
class CohortTask:
    """What one worker does in a round.

    Attributes
    ----------
    server_round : int
        Round; models kept from an earlier one are forgotten.
    content : RecordDict
        What all clients are told, without array records.
    arrays : tuple of (str, int)
        Record name and index of the payload that belongs under it.
    chunks : mapping
        Number of a chunk in the round to its clients.
    keep : bool
        Whether models stay with the worker.
    """

    server_round: int
    content: RecordDict
    arrays: tuple[tuple[str, int], ...]
    chunks: Mapping[int, Sequence[Asked]]
    keep: bool = False


class Trained(NamedTuple):
    """What a worker answers to a task."""

    parts: list[StackedPart]
    states: dict[int, RecordDict]
    """Client states after training, of clients that have any."""
    reduced: int | None = None
    """Clients that the worker trains at once since its device was full; None: it never was."""
    parted: str | None = None
    """What to say about clients that could not be trained at once."""


class CohortScores(NamedTuple):
    """What the clients of a worker scored, as :meth:`fedbal.measures.base.Measures.packed` packs it."""

    nodes: list[int]
    received: Any
    own: list[int]
    """Clients that have a model of their own."""
    personal: Any


class ChunkSums(NamedTuple):
    """Weighted sums over the clients of a chunk."""

    sums: Sums
    largest: Arrays


@dataclass
class _Chunk:
    nodes: Sequence[int]
    models: list[Arrays]


class CohortWorker:
    """Trains whole chunks with a ClientApp of fedbal's own; the same code in process and in a Ray worker.

    Parameters
    ----------
    app : TrainingApp
        What every client runs.
    directory : NodeDirectory
        The population.
    """

    def __init__(self, app: TrainingApp, directory: NodeDirectory) -> None:
        self._app = app
        self._directory = directory
        self._round = 0
        self._current: Arrays = {}
        self._kept: dict[int, _Chunk] = {}

    @property
    def turn(self) -> Turn:
        """When its Python may run, where several workers are threads."""
        return self._app.trainer.turn

    def leave(self) -> None:
        """End training soon; another thread may say so."""
        self._app.trainer.recorder.leave()

    def train(self, task: CohortTask, payloads: Mapping[int, ArrayRecord]) -> Trained:
        """Train the chunks of a task, in order."""
        content = _content(task, payloads)
        record = protocol.arrays_of(content)
        reference = signature_of_record(record)
        if task.server_round != self._round or not task.keep:
            self._kept = {}
        self._round = task.server_round
        trained = Trained([], {})
        everyone = Gather(reference, 0 if task.keep else sum(map(len, task.chunks.values())))
        for number, clients in task.chunks.items():
            gather = Gather(reference, len(clients)) if task.keep else everyone
            self._train_chunk(clients, content, gather, trained.states)
            if task.keep:
                self._keep(number, gather.part(), trained.parts)
        if task.keep:
            self._current = to_arrays(record)
        else:
            trained.parts.append(everyone.part())
        return trained._replace(reduced=self._app.memory.chunk, parted=self._app.memory.parted)

    def evaluate(self, task: CohortTask, payloads: Mapping[int, ArrayRecord]) -> list[CohortScores]:
        """Evaluate the model of a task, and the clients' own, on the clients' test rows; who fails is left out."""
        content = _content(task, payloads)
        clients = [client for chunk in task.chunks.values() for client in chunk]
        starts = range(0, len(clients), EVALUATED_AT_ONCE)
        return [self._scores(content, clients[start : start + EVALUATED_AT_ONCE]) for start in starts]

    def sums(self, chunks: Sequence[int], weights: Mapping[int, float]) -> dict[int, ChunkSums]:
        """Return the weighted sums of kept chunks, of those that have a client with a weight."""
        found = {}
        for number in chunks:
            kept = self._kept[number]
            rows = [row for row, node in enumerate(kept.nodes) if node in weights]
            if rows:
                models = [kept.models[row] for row in rows]
                shares = np.array([weights[kept.nodes[row]] for row in rows])
                found[number] = ChunkSums(weighted_sums(models, shares), maxima(models))
        return found

    def models(self, chunks: Sequence[int], nodes: Collection[int]) -> dict[int, Arrays]:
        """Return the kept models of some clients, by node."""
        return {
            node: model
            for number in chunks
            for node, model in zip(self._kept[number].nodes, self._kept[number].models, strict=True)
            if node in nodes
        }

    def products(
        self, chunks: Sequence[int], mean: Mapping[str, NDArray[np.float64]]
    ) -> dict[int, tuple[float, float]]:
        """Return, by node, each kept update's inner product with the mean update, and with itself."""
        found = {}
        for number in chunks:
            kept = self._kept[number]
            if kept.models:
                values = zip(
                    *(part.tolist() for part in products(self._current, kept.models, mean)), strict=True
                )
                found.update(dict(zip(kept.nodes, values, strict=True)))
        return found

    def _scores(self, content: RecordDict, clients: Sequence[Asked]) -> CohortScores:
        answers = self._app.evaluate_chunk(content, [self._context(client) for client in clients])
        scored = [
            (client.node, answer)
            for client, answer in zip(clients, answers, strict=True)
            if isinstance(answer, Scored)
        ]
        own = [(node, answer.personal) for node, answer in scored if answer.personal is not None]
        pack = self._app.trainer.measures.packed
        return CohortScores(
            nodes=[node for node, _ in scored],
            received=pack([answer.received for _, answer in scored]),
            own=[node for node, _ in own],
            personal=pack([sums for _, sums in own]),
        )

    def _train_chunk(
        self, clients: Sequence[Asked], content: RecordDict, gather: Gather, states: dict[int, RecordDict]
    ) -> None:
        together = self._app.engine.together
        for group in [clients] if together else [[client] for client in clients]:
            self._app.trainer.recorder.require_time()
            with self.turn.taken():
                self._train_group(group, content, gather, states)

    def _train_group(
        self, group: Sequence[Asked], content: RecordDict, gather: Gather, states: dict[int, RecordDict]
    ) -> None:
        started = time.perf_counter()
        asked = [(_told(content, client.own), self._context(client)) for client in group]
        answers = self._answers(asked)
        seconds = (time.perf_counter() - started) / len(group)
        for client, (_, context), answer in zip(group, asked, answers, strict=True):
            usable = gather.add(client.node, answer, seconds)
            if usable and (len(context.state) or client.state is not None):
                states[client.node] = context.state
        gather.settle()

    def _answers(self, asked: Sequence[tuple[RecordDict, Context]]) -> Sequence[TrainReply | BaseException]:
        try:
            return self._app.train_chunk(asked)
        except SystemExit as error:
            if len(asked) == 1:
                return [error]
        return [answer for one in asked for answer in self._answers([one])]

    def _context(self, client: Asked) -> Context:
        state = RecordDict() if client.state is None else protocol.copy_content(client.state)
        return Context(flower.RUN_ID, client.node, self._directory.config(client.node), state, {})

    def _keep(self, number: int, part: StackedPart, parts: list[StackedPart]) -> None:
        names = list(part.arrays)
        rows = zip(*part.arrays.values(), strict=True)
        models = [dict(zip(names, map(np.asarray, row), strict=True)) for row in rows]
        self._kept[number] = _Chunk(part.nodes, models)
        parts.append(replace(part, arrays={}, records={}))


def _content(task: CohortTask, payloads: Mapping[int, ArrayRecord]) -> RecordDict:
    content = RecordDict(dict(task.content))
    for name, index in task.arrays:
        content[name] = payloads[index]
    return content


def _told(content: RecordDict, own: ConfigRecord | None) -> RecordDict:
    if not own:
        return content
    told = RecordDict(dict(content))
    config = protocol.config_of(content).copy()
    config.update(own)
    told[protocol.CONFIG] = config
    return told


def call(worker: CohortWorker, what: str, task: CohortTask, argument: Any, payloads: Sequence[Any]) -> Any:
    """Do one step of the protocol: ``train``, ``evaluate``, ``sums``, ``products`` or ``models``."""
    if what in FROM_MODEL:
        begin = worker.train if what == "train" else worker.evaluate
        return begin(task, dict(enumerate(payloads)))
    steps: dict[str, Callable[..., Any]] = {
        "sums": worker.sums,
        "products": worker.products,
        "models": worker.models,
    }
    return steps[what](list(task.chunks), argument)
