"""One round of local training: the strategy asks, the cohort trains, the strategy aggregates.

With fedbal's own rules on fedbal's own grids nothing is encoded for a single client; everybody else gets ordinary
Flower messages. The result, the rows and the byte counts are the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from clients.engine import LOOP
from fedbal import protocol
from fedbal.codec import decoded_replies
from fedbal.errors import RunError
from fedbal.exchange import Exchange, choose_exchange
from fedbal.foreign import keep_valid, seeded_sampling
from fedbal.grid.base import VirtualGrid
from fedbal.grid.exchange import KeptCohort, train_cohort
from fedbal.grid.riding import RidingGrid
from fedbal.offered import OfferedGrid
from fedbal.protocol import Arrays, to_arrays
from fedbal.systems import Directive
from strategies.base import AggregationRule
from strategies.mean import blocks_of
from strategies.report import RoundReport
from strategies.stacked import StackedReplies
from strategies.validation import ClientReply, signature, validate


@dataclass(frozen=True)
class Trained:
    """What a round of training came to.

    Attributes
    ----------
    arrays : Arrays
        The next global model.
    metrics : dict
        The ``train`` object of the round's row.
    report : RoundReport
        What the rule made of the replies.
    answered : collection of int
        Nodes that sent anything, errors included.
    replied : int
        Nodes that sent a model.
    bytes_up, bytes_down : int
        Bytes of replies and of requests, as messages.
    seconds : mapping
        Node id to wall time, where the grid measures it.
    recorded : sequence of ClientReply
        Valid replies of the clients that were to be recorded.
    valid : int
        Valid replies of all clients; counted where some were to be recorded.
    missing : mapping
        Node id to the reason why it sent nothing, where the grid knows it.
    """

    arrays: Arrays
    metrics: dict[str, Any]
    report: RoundReport
    answered: Collection[int]
    replied: int
    bytes_up: int
    bytes_down: int
    seconds: Mapping[int, float]
    recorded: Sequence[ClientReply] = ()
    valid: int = 0
    missing: Mapping[int, str] = field(default_factory=dict)


class _Asked(NamedTuple):
    """What :meth:`CohortRound.train` was asked for."""

    server_round: int
    cohort: Sequence[int]
    record: ArrayRecord
    arrays: Arrays
    config: ConfigRecord
    directives: Mapping[int, Directive]
    recorded: Collection[int]
    extras: Sequence[str]


@dataclass(frozen=True)
class CohortRound:
    """Trains cohorts.

    Attributes
    ----------
    grid : Grid
        Where clients are.
    strategy : Strategy
        fedbal's or any other Flower strategy.
    seed : int
        Training seed, for stock strategies that sample.
    cohort : int
        Clients of a round.
    timeout : float, optional
        Seconds to wait for replies.
    preprocess : ArrayRecord, optional
        Imputation and scaling, sent with every request.
    """

    grid: Grid
    strategy: Strategy
    seed: int
    cohort: int
    timeout: float | None = None
    preprocess: ArrayRecord | None = None

    def exchange(self, arrays: Arrays) -> Exchange:
        """Return how the models of a round travel on this grid."""
        if not isinstance(self.grid, VirtualGrid) or not self.grid.trains_cohorts:
            return "messages"
        engine = LOOP if self.grid.chunks is None else self.grid.chunks.engine
        parameters = sum(value.size for value in arrays.values())
        return choose_exchange(self.strategy, parameters, self.cohort, engine)

    def train(
        self,
        server_round: int,
        cohort: Sequence[int],
        record: ArrayRecord,
        arrays: Arrays,
        config: ConfigRecord,
        directives: Mapping[int, Directive],
        recorded: Collection[int] = (),
        extras: Sequence[str] = (),
    ) -> Trained:
        """Train a cohort from a model and aggregate.

        Parameters
        ----------
        server_round : int
            Round, from 1.
        cohort : sequence of int
            Nodes, ascending.
        record, arrays : ArrayRecord, Arrays
            The model, encoded and not.
        config : ConfigRecord
            What all are told.
        directives : mapping
            Node id to what systems heterogeneity does to it.
        recorded : collection of int
            Whose replies are to be recorded.
        extras : sequence of str
            What all are asked for beside what the strategy asks.
        """
        exchange = self.exchange(arrays)
        asked = _Asked(server_round, cohort, record, arrays, config, directives, frozenset(recorded), extras)
        if exchange == "messages":
            return self._by_messages(asked)
        return self._lean(asked, exchange == "sums")

    def prepared(self, message: Message) -> Message:
        """Add imputation and scaling to a message, if the run has any."""
        if self.preprocess is not None:
            message.content = RecordDict({**message.content, protocol.PREPROCESS: self.preprocess})
        return message

    def _lean(self, asked: _Asked, keep: bool) -> Trained:
        rule, grid, server_round = self.strategy, self.grid, asked.server_round
        assert isinstance(rule, AggregationRule)
        assert isinstance(grid, VirtualGrid)
        replies, sent = StackedReplies([]), 0
        nodes: tuple[int, ...] = ()
        recorded: list[ClientReply] = []
        if asked.cohort:
            order = rule.order(server_round, asked.record, asked.config, OfferedGrid(grid, asked.cohort))
            order = order.without(
                {node for node, one in asked.directives.items() if one.excluded is not None}
            )
            work = {
                node: ConfigRecord({protocol.LOCAL_WORK: one.work})
                for node, one in asked.directives.items()
                if one.excluded is None and one.work is not None and node in order.nodes
            }
            order = order.requesting(asked.extras).telling(work)
            order = order.bringing(protocol.PREPROCESS, self.preprocess)
            nodes, sent = order.nodes, order.num_bytes()
            replies = train_cohort(grid, order, keep)
            recorded = _recorded(replies, asked.recorded, order.cohort)
        with _named(rule, server_round):
            following, metrics = rule.aggregate_stacked(server_round, replies)
        return Trained(
            arrays=asked.arrays if following is None else as_model(following, asked.arrays),
            metrics=_numbers(metrics),
            report=rule.report,
            answered=frozenset(nodes),
            replied=len(nodes) - len(replies.failed),
            bytes_up=replies.num_bytes,
            bytes_down=sent,
            seconds=replies.seconds,
            recorded=recorded,
            valid=len(replies.nodes),
        )

    def _by_messages(self, asked: _Asked) -> Trained:
        server_round, arrays = asked.server_round, asked.arrays
        messages = self._messages(asked)
        replies = list(self.grid.send_and_receive(messages, timeout=self.timeout))
        readable = decoded_replies(replies, messages)
        valid: list[ClientReply] = []
        if asked.recorded:
            blocks = blocks_of(sorted(asked.cohort))
            valid = validate(readable, signature(arrays), server_round, None, blocks).replies
        seconds = dict(self.grid.seconds) if isinstance(self.grid, VirtualGrid | RidingGrid) else {}
        missing = dict(self.grid.missing) if isinstance(self.grid, RidingGrid) else {}
        with _named(self.strategy, server_round):
            following, metrics, report = self._aggregate(server_round, readable, arrays)
        return Trained(
            arrays=arrays if following is None else as_model(to_arrays(following), arrays),
            metrics=_numbers(metrics),
            report=report,
            answered=frozenset(reply.metadata.src_node_id for reply in replies),
            replied=sum(reply.has_content() for reply in replies),
            bytes_up=bytes_of(replies),
            bytes_down=bytes_of(messages),
            seconds=seconds,
            recorded=[reply for reply in valid if reply.node in asked.recorded],
            valid=len(valid),
            missing=missing,
        )

    def _messages(self, asked: _Asked) -> list[Message]:
        """Let the strategy address the cohort, then apply what systems heterogeneity does to each client."""
        if not asked.cohort:
            # Nobody is available; stock strategies would wait for nodes for ever.
            return []
        offered = OfferedGrid(self.grid, asked.cohort)
        with seeded_sampling(self.seed, asked.server_round):
            made = list(
                self.strategy.configure_train(asked.server_round, asked.record, asked.config, offered)
            )
        messages = []
        for message in sorted(made, key=lambda one: one.metadata.dst_node_id):
            directive = asked.directives.get(message.metadata.dst_node_id, Directive())
            if directive.excluded is not None:
                continue
            if asked.extras:
                message.content = protocol.requesting(message.content, asked.extras)
            if directive.work is not None:
                # Messages may share one content: a straggler gets its own copy of the config.
                message.content = protocol.copy_content(message.content)
                protocol.config_of(message.content)[protocol.LOCAL_WORK] = directive.work
            messages.append(self.prepared(message))
        return messages

    def _aggregate(
        self, server_round: int, replies: list[Message], arrays: Arrays
    ) -> tuple[ArrayRecord | None, MetricRecord | None, RoundReport]:
        strategy = self.strategy
        if isinstance(strategy, AggregationRule):
            return *strategy.aggregate_train(server_round, replies), strategy.report
        kept, validated = keep_valid(replies, arrays, server_round)
        record, metrics = strategy.aggregate_train(server_round, kept) if kept else (None, None)
        return record, metrics, RoundReport(dropped=validated.dropped)


def _recorded(replies: StackedReplies, nodes: Collection[int], cohort: Sequence[int]) -> list[ClientReply]:
    """Return the valid replies of some clients with their models, which may have stayed with the workers."""
    if not nodes:
        return []
    valid = replies.validated(lambda reply: None, blocks_of(cohort)).replies
    chosen = [reply for reply in valid if reply.node in nodes]
    if replies.kept is None:
        return chosen
    assert isinstance(replies.kept, KeptCohort)
    models = replies.kept.models({reply.node for reply in chosen})
    return [replace(reply, arrays=models[reply.node]) for reply in chosen]


def bytes_of(messages: Sequence[Message]) -> int:
    """Return the bytes of all contents."""
    return sum(protocol.num_bytes(message.content) for message in messages if message.has_content())


class _named:
    """Says which strategy failed, and when."""

    def __init__(self, strategy: Strategy, server_round: int) -> None:
        self._what = f"{type(strategy).__name__} failed in round {server_round}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, RunError):
            raise RunError(f"{self._what}: {type(error).__name__}: {error}") from error


def as_model(arrays: Arrays, like: Arrays) -> Arrays:
    """Return an aggregate in the order and dtypes of the model; some stock strategies return float64."""
    if set(arrays) != set(like):
        arrays = dict(zip(like, arrays.values(), strict=True))
    return {name: np.asarray(arrays[name], value.dtype).reshape(value.shape) for name, value in like.items()}


def _numbers(metrics: MetricRecord | None) -> dict[str, Any]:
    values = {key.replace("-", "_"): value for key, value in (metrics or {}).items()}
    loss = values.pop("train_loss", None)
    return {"loss": loss, **values}
