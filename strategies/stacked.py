"""The replies of a cohort as stacks: one array a parameter instead of one message a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbal import protocol
from fedbal.protocol import Arrays
from strategies.mean import Sums
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
        order = np.argsort([node for part in self.parts for node in part.nodes])
        filled = [part.arrays for part in self.parts if part.nodes]
        names = filled[0] if filled else {}
        return {name: np.concatenate([arrays[name] for arrays in filled])[order] for name in names}

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
        """Return the replies that pass a rule's own check, by node, their arrays views into the stacks."""
        replies = [reply for part in self.parts for reply in _replies(part, blocks)]
        result, dropped = Validated(), self.dropped
        for reply in sorted(replies, key=lambda reply: reply.node):
            try:
                check(reply)
                result.replies.append(reply)
            except InvalidReplyError as error:
                dropped[reply.node] = str(error)
        result.dropped = dict(sorted(dropped.items()))
        return result


def _replies(part: StackedPart, blocks: Mapping[int, int]) -> list[ClientReply]:
    names = list(part.arrays)
    rows = zip(*part.arrays.values(), strict=True) if names else [()] * len(part.nodes)
    records: list[dict[str, Arrays]] = [{} for _ in part.nodes]
    for record, (owners, arrays) in part.records.items():
        for position, row in enumerate(owners):
            records[row][record] = {name: stack[position, ...] for name, stack in arrays.items()}
    columns = (part.nodes, part.num_examples, part.losses, part.extras, records, rows)
    return [
        ClientReply(
            node=node,
            num_examples=float(samples),
            arrays=dict(zip(names, map(np.asarray, values), strict=True)),
            metrics={protocol.NUM_EXAMPLES: samples, protocol.TRAIN_LOSS: loss},
            extras=extras,
            records=own,
            block=blocks.get(node, 0),
        )
        for node, samples, loss, extras, own, values in zip(*columns, strict=True)
    ]
