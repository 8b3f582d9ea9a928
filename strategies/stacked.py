"""The replies of a cohort as stacks: one array a parameter instead of one message a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbal import protocol
from fedbal.protocol import Arrays
from strategies.mean import Stack, Sums
from strategies.validation import ClientReply, InvalidReplyError, Validated


class RecordStack(NamedTuple):
    """A further array record of some clients."""

    rows: Sequence[int]
    """Which clients of the part brought it."""
    arrays: Arrays
    """Name to (len(rows), ...)."""


@dataclass(frozen=True)
class StackedPart:
    """The replies that one worker gathered: valid ones as stacks, the others with their reasons.

    Attributes
    ----------
    nodes : sequence of int
        Node ids of the n valid replies.
    num_examples, losses : sequence
        Training samples and mean training loss of each.
    arrays : dict of ndarray
        Name to (n, ...); empty where the worker keeps the models.
    extras : sequence of mapping
        What each was asked for.
    records : dict of RecordStack
        Further array records.
    dropped : dict
        Node id to the reason, as :func:`strategies.validation.validate` gives it.
    failed : frozenset of int
        Those of ``dropped`` that sent nothing but an error.
    seconds : dict
        Node id to wall time, of every client that was asked.
    num_bytes : int
        What the replies would weigh as messages.
    """

    nodes: Sequence[int] = ()
    num_examples: Sequence[int] = ()
    losses: Sequence[float] = ()
    arrays: Arrays = field(default_factory=dict)
    extras: Sequence[Mapping[str, list[float]]] = ()
    records: Mapping[str, RecordStack] = field(default_factory=dict)
    dropped: Mapping[int, str] = field(default_factory=dict)
    failed: frozenset[int] = frozenset()
    seconds: Mapping[int, float] = field(default_factory=dict)
    num_bytes: int = 0


class Kept(Protocol):
    """Models that stay where they were trained; only sums over clients travel."""

    def sums(self, weights: Mapping[int, float]) -> tuple[Sums, Arrays]:
        """Return the weighted sums of the floating arrays, and the element-wise maximum of all others.

        Parameters
        ----------
        weights : mapping
            Node id to weight, of the replies that count.
        """
        ...

    def products(self, mean: Mapping[str, NDArray[np.float64]]) -> dict[int, tuple[float, float]]:
        """Return by node what :func:`strategies.alignment.products` does."""
        ...


@dataclass(frozen=True)
class StackedReplies:
    """All replies of a round.

    Attributes
    ----------
    parts : sequence of StackedPart
        One a worker.
    kept : Kept, optional
        Where the models are, if they did not come along.
    """

    parts: Sequence[StackedPart]
    kept: Kept | None = None

    @property
    def nodes(self) -> list[int]:
        """Node ids of the valid replies, ascending."""
        return sorted(node for part in self.parts for node in part.nodes)

    @property
    def arrays(self) -> Arrays:
        """Name to (n, ...), in the order of :attr:`nodes`."""
        nodes = [node for part in self.parts for node in part.nodes]
        filled = [part.arrays for part in self.parts if part.nodes]
        if not filled:
            return {}
        arrays = {name: _joined([own[name] for own in filled]) for name in filled[0]}
        order = np.argsort(nodes)
        sorted_already = bool((order[1:] > order[:-1]).all())
        return arrays if sorted_already else {name: stack[order] for name, stack in arrays.items()}

    @property
    def dropped(self) -> dict[int, str]:
        """Node id to the reason why its reply is left out."""
        return {node: reason for part in self.parts for node, reason in part.dropped.items()}

    @property
    def failed(self) -> set[int]:
        """Nodes that sent nothing but an error."""
        return {node for part in self.parts for node in part.failed}

    @property
    def seconds(self) -> dict[int, float]:
        """Node id to wall time."""
        return {node: value for part in self.parts for node, value in part.seconds.items()}

    @property
    def num_bytes(self) -> int:
        """What the replies would weigh as messages."""
        return sum(part.num_bytes for part in self.parts)

    def validated(self, check: Callable[[ClientReply], None], blocks: Mapping[int, int]) -> Validated:
        """Return the replies that pass a rule's own check, by node, their arrays views into stacks."""
        arrays, rows = (
            self.arrays,
            sorted((row for part in self.parts for row in _rows(part)), key=lambda row: row.node),
        )
        result, dropped, good = Validated(), self.dropped, []
        for position, (node, samples, loss, extras, records) in enumerate(rows):
            reply = ClientReply(
                node=node,
                num_examples=float(samples),
                arrays={name: stack[position, ...] for name, stack in arrays.items()},
                metrics={protocol.NUM_EXAMPLES: samples, protocol.TRAIN_LOSS: loss},
                extras=extras,
                records=records,
                block=blocks.get(node, 0),
            )
            try:
                check(reply)
                result.replies.append(reply)
                good.append(position)
            except InvalidReplyError as error:
                dropped[node] = str(error)
        if arrays:
            whole = len(good) == len(rows)
            result.stack = Stack(arrays if whole else {name: stack[good] for name, stack in arrays.items()})
        result.dropped = dict(sorted(dropped.items()))
        return result


def _joined(stacks: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return stacks[0] if len(stacks) == 1 else np.concatenate(stacks)


class _Row(NamedTuple):
    node: int
    num_examples: int
    loss: float
    extras: Mapping[str, list[float]]
    records: dict[str, Arrays]


def _rows(part: StackedPart) -> list[_Row]:
    """Return the replies of a part without their models."""
    records: list[dict[str, Arrays]] = [{} for _ in part.nodes]
    for record, (owners, arrays) in part.records.items():
        for position, row in enumerate(owners):
            records[row][record] = {name: stack[position, ...] for name, stack in arrays.items()}
    columns = (part.nodes, part.num_examples, part.losses, part.extras, records)
    return [_Row(*row) for row in zip(*columns, strict=True)]
