"""The driver's side of cohorts without messages: cut it up, place it, add up what comes back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from numpy.typing import NDArray

from fedbal import protocol
from fedbal.grid.lean import Asked, ChunkSums, CohortTask
from fedbal.measures.base import Evaluated, Measures
from fedbal.protocol import Arrays
from strategies.mean import Sums, block_size
from strategies.order import CohortOrder
from strategies.stacked import StackedReplies

if TYPE_CHECKING:
    from fedbal.grid.base import VirtualGrid


@dataclass(frozen=True)
class KeptCohort:
    """Models that stayed with the workers: asks those for sums and inner products.

    Attributes
    ----------
    grid : VirtualGrid
        Who has the workers.
    tasks : sequence of CohortTask
        What each worker did.
    """

    grid: VirtualGrid
    tasks: Sequence[CohortTask]

    def sums(self, weights: Mapping[int, float]) -> tuple[Sums, Arrays]:
        """Return the weighted sums, chunk added to chunk in their order, and the maxima of the other arrays."""
        chunks: dict[int, ChunkSums] = {}
        for found in self.grid.cohort_step("sums", self.tasks, dict(weights)):
            chunks.update(found)
        first, *rest = [chunks[number] for number in sorted(chunks)]
        totals = {name: 0.0 + part for name, part in first.sums.items()}
        largest = dict(first.largest)
        for chunk in rest:
            for name, part in chunk.sums.items():
                totals[name] += part
            largest = {name: np.maximum(value, chunk.largest[name]) for name, value in largest.items()}
        return totals, largest

    def products(self, mean: Mapping[str, NDArray[np.float64]]) -> dict[int, tuple[float, float]]:
        """Return, by node, each update's inner product with the mean update, and with itself."""
        found: dict[int, tuple[float, float]] = {}
        for part in self.grid.cohort_step("products", self.tasks, dict(mean)):
            found.update(part)
        return found

    def models(self, nodes: Collection[int]) -> dict[int, Arrays]:
        """Return the models of some clients, by node: what recording needs and aggregation does not."""
        found: dict[int, Arrays] = {}
        for part in self.grid.cohort_step("models", self.tasks, frozenset(nodes)):
            found.update(part)
        return found


def train_cohort(grid: VirtualGrid, order: CohortOrder, keep: bool) -> StackedReplies:
    """Let a grid's workers train the clients of an order.

    Parameters
    ----------
    grid : VirtualGrid
        Who has the workers; it must say that it ``trains_cohorts``.
    order : CohortOrder
        Whom to ask what.
    keep : bool
        Whether the models stay with the workers, to be summed there.
    """
    content, arrays, payloads = _apart(order.content)
    states = grid.states.present(order.nodes)
    clients = [Asked(node, order.own.get(node), states.get(node)) for node in order.nodes]
    chunks = [[clients[i] for i in chunk] for chunk in _chunks(grid, order)]
    placed = grid.placed([[client.node for client in chunk] for chunk in chunks])
    tasks = [
        CohortTask(order.server_round, content, arrays, {n: chunks[n] for n in numbers}, keep)
        for numbers in placed
        if numbers
    ]
    answers = grid.cohort_step("train", tasks, None, payloads)
    parts = []
    for answer in answers:
        parts += answer.parts
        grid.reduce(answer.reduced)
        grid.tell(answer.parted)
        for node, state in answer.states.items():
            grid.states.put(node, state)
    replies = StackedReplies(parts, KeptCohort(grid, tasks) if keep else None)
    grid.learn(order, replies)
    return replies


def evaluate_cohort(
    grid: VirtualGrid, nodes: Sequence[int], content: RecordDict, server_round: int, measures: Measures[Any]
) -> dict[int, Evaluated]:
    """Let a grid's workers evaluate the model of a message on the test rows of clients.

    Parameters
    ----------
    grid : VirtualGrid
        Who has the workers; it must say that it ``trains_cohorts``.
    nodes : sequence of int
        Whom to ask.
    content : RecordDict
        What all are told.
    server_round : int
        Round, from 1.
    measures : Measures
        What is measured on the task.

    Returns
    -------
    dict
        Node id to scores, ascending, of the clients that answered properly.
    """
    light, arrays, payloads = _apart(content)
    states = grid.states.present(nodes)
    clients = [Asked(node, None, states.get(node)) for node in nodes]
    tasks = [
        CohortTask(server_round, light, arrays, {0: [clients[i] for i in numbers]})
        for numbers in grid.placed([[node] for node in nodes])
        if numbers
    ]
    found: dict[int, Evaluated] = {}
    for answers in grid.cohort_step("evaluate", tasks, None, payloads):
        for scores in answers:
            personal = dict(zip(scores.own, measures.unpacked(scores.personal), strict=True))
            for node, received in zip(scores.nodes, measures.unpacked(scores.received), strict=True):
                own = personal.get(node)
                if received is not None and (own is not None or node not in personal):
                    found[node] = Evaluated(received, own)
    return dict(sorted(found.items()))


def _apart(content: RecordDict) -> tuple[RecordDict, tuple[tuple[str, int], ...], list[ArrayRecord]]:
    """Take the array records out of a content: what is left, their names and places, and themselves."""
    light = RecordDict()
    payloads: list[ArrayRecord] = []
    arrays: list[tuple[str, int]] = []
    for name, record in content.items():
        if isinstance(record, ArrayRecord):
            arrays.append((name, len(payloads)))
            payloads.append(record)
        else:
            light[name] = record
    return light, tuple(arrays), payloads


def _chunks(grid: VirtualGrid, order: CohortOrder) -> list[list[int]]:
    """Return who belongs together: the engine's chunks, or for a loop the blocks in which means are summed."""
    if grid.chunks is not None and grid.chunks.engine.together:
        own = [order.own.get(node) for node in order.nodes]
        work = [None if config is None else config.get(protocol.LOCAL_WORK) for config in own]
        return grid.chunks.of(order.nodes, [None if one is None else int(one) for one in work])  # type: ignore[arg-type]
    size = block_size(len(order.cohort))
    place = {node: position // size for position, node in enumerate(order.cohort)}
    blocks: dict[int, list[int]] = {}
    for position, node in enumerate(order.nodes):
        blocks.setdefault(place[node], []).append(position)
    return list(blocks.values())
