"""The base of every rule: offer, validate, weigh, combine, step; a Flower strategy throughout.

Weighting and server optimizer are axes of their own; a rule sets them, or replaces
:meth:`AggregationRule.weights`, :meth:`AggregationRule.combine` or :meth:`AggregationRule.server_step`.
Everything around them is here once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from logging import INFO, getLogger
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from fedbal import protocol
from fedbal.protocol import Arrays, Disclosure, to_arrays, to_record
from strategies.alignment import alignment
from strategies.cohort import CohortSampler
from strategies.report import RoundReport, ServerContext
from strategies.server_optimizers import ServerOptimizer
from strategies.validation import ClientReply, InvalidReplyError, Validated, signature, validate
from strategies.weighting import BySamples, Weighting, Weights


class AggregationRule(Strategy):
    """A rule that averages client models with per-client weights.

    Parameters
    ----------
    weighting : Weighting, optional
        How much each reply counts (default: by sample counts).
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update (default: it becomes the average).

    Attributes
    ----------
    sampler : CohortSampler, optional
        Who is asked among the nodes that the grid offers; None: all of them. fedbal's own round loop
        offers exactly the cohort, so it needs none.
    report : RoundReport
        What happened in the latest round.
    context : ServerContext, optional
        What is known about the task; set by the round loop.
    """

    requests: tuple[str, ...] = ()
    """Extras that the rule itself asks of every client."""
    discloses: tuple[Disclosure, ...] = ()
    """What leaves a site because of this rule, beyond weights and the sample count."""

    def __init__(
        self, weighting: Weighting | None = None, server_optimizer: ServerOptimizer | None = None
    ) -> None:
        self.weighting = weighting
        self.weigher = weighting or BySamples()
        self.server_optimizer = server_optimizer
        self.sampler: CohortSampler | None = None
        self.report = RoundReport()
        self.context: ServerContext | None = None
        self.current: Arrays = {}

    @property
    def asks(self) -> tuple[str, ...]:
        """Extras asked of every client, the weighting's included."""
        return tuple(dict.fromkeys(self.requests + self.weigher.requests))

    @property
    def manifest(self) -> tuple[Disclosure, ...]:
        """Everything that leaves a site because of the rule, beyond weights and the sample count."""
        return tuple(dict.fromkeys(self.discloses + self.weigher.discloses))

    def check(self, reply: ClientReply) -> None:
        """Raise ``InvalidReplyError`` for a reply that lacks what this rule needs."""
        for request in self.asks:
            if request not in reply.extras:
                raise InvalidReplyError(f"the reply lacks {request!r}, which {type(self).__name__} needs")
        self.weigher.check(reply, self.context)

    def weights(self, replies: Sequence[ClientReply]) -> Weights:
        """Return one weight a reply, shape (n,), non-negative, summing to 1."""
        return self.weigher.weights(replies, self.report)

    def combine(self, replies: Sequence[ClientReply], weights: Weights) -> Arrays:
        """Combine the clients' models; here their weighted mean."""
        return weighted_mean([reply.arrays for reply in replies], weights)

    def server_step(self, current: Arrays, combined: Arrays) -> Arrays:
        """Make the next global model; without a server optimizer the combination itself."""
        return combined if self.server_optimizer is None else self.server_optimizer.step(current, combined)

    def sends(self) -> dict[str, ArrayRecord]:
        """Return what goes to the clients with the model, by record name."""
        return {}

    def config_for(self, node: int) -> ConfigRecord:
        """Return config for one client alone, beside what all are told."""
        return ConfigRecord()

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the rule's own state between rounds, as arrays by name."""
        return {} if self.server_optimizer is None else self.server_optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        if self.server_optimizer is not None:
            self.server_optimizer.load_state_dict(state)
        elif state:
            raise ValueError(f"{type(self).__name__} keeps no state, got {sorted(state)}")

    def configure_opening(self, grid: Grid) -> Iterable[Message]:
        """Return queries to send once, before round 1; most rules ask nothing.

        What :meth:`aggregate_opening` learns belongs into :meth:`state_dict`: a resumed run does not ask again.
        """
        return []

    def aggregate_opening(self, replies: Iterable[Message]) -> None:
        """Take the answers to :meth:`configure_opening`; not called when it asked nothing."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the global model to the cohort."""
        self.current = to_arrays(arrays)
        return self._messages(server_round, arrays, config, grid, MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Validate the replies and make the next global model; nothing valid: the model stays."""
        validated = validate(replies, signature(self.current), server_round, self.check)
        self.report = RoundReport(dropped=dict(validated.dropped))
        if not validated.replies:
            return None, None
        weights = self.weights(validated.replies)
        models = [reply.arrays for reply in validated.replies]
        for reply, numbers in zip(validated.replies, alignment(self.current, models, weights), strict=True):
            self.report.diagnostics.setdefault(reply.node, {}).update(numbers)
        combined = self.combine(validated.replies, weights)
        following = self.server_step(self.current, combined)
        self.current = following
        self.report.weights = {
            reply.node: float(weight) for reply, weight in zip(validated.replies, weights, strict=True)
        }
        return to_record(following), train_metrics(validated)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the global model to the cohort for evaluation."""
        return self._messages(server_round, arrays, config, grid, MessageType.EVALUATE)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Average the clients' evaluation metrics, weighted by their test samples."""
        contents = [reply.content for reply in replies if reply.has_content()]
        rows = [protocol.metrics_of(content) for content in contents]
        return mean_metrics([row for row in rows if _positive(row.get(protocol.NUM_EXAMPLES))])

    def summary(self) -> None:
        """Log the rule's name and parameters."""
        getLogger("flwr").log(INFO, "\t├──> %s", type(self).__name__)

    def _messages(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid, kind: str
    ) -> list[Message]:
        nodes = sorted(grid.get_node_ids())
        cohort = nodes if self.sampler is None else self.sampler.sample(server_round, nodes)
        sent = config.copy()
        sent[protocol.SERVER_ROUND] = server_round
        if self.asks and kind == MessageType.TRAIN:
            sent[protocol.REQUESTS] = list(self.asks)
        content = RecordDict({protocol.ARRAYS: arrays, protocol.CONFIG: sent})
        if kind == MessageType.TRAIN:
            for name, record in self.sends().items():
                content[name] = record
        group = str(server_round)
        return [Message(self._addressed(content, node), node, kind, group_id=group) for node in cohort]

    def _addressed(self, content: RecordDict, node: int) -> RecordDict:
        """Add what concerns one client alone; without any, all messages share one content."""
        own = self.config_for(node)
        if not own:
            return content
        addressed = protocol.copy_content(content)
        addressed[protocol.ARRAYS] = content[protocol.ARRAYS]
        protocol.config_of(addressed).update(own)
        return addressed


def weighted_mean(models: Sequence[Arrays], weights: Weights) -> Arrays:
    """Return ``sum_k weights[k] * models[k]`` array by array.

    Sums run in float64 and in the order given, then return to the model's dtype. Integer and boolean
    buffers (counters, masks) are not averaged: they take the element-wise maximum.
    """
    mean: Arrays = {}
    for name, first in models[0].items():
        if not np.issubdtype(first.dtype, np.inexact):
            mean[name] = np.maximum.reduce([model[name] for model in models])
            continue
        total = np.zeros(first.shape, np.float64)
        for model, weight in zip(models, weights, strict=True):
            total += weight * model[name].astype(np.float64)
        mean[name] = total.astype(first.dtype)
    return mean


def train_metrics(validated: Validated) -> MetricRecord:
    """Return the training metrics of the survivors, weighted by samples."""
    return mean_metrics([reply.metrics for reply in validated.replies]) or MetricRecord()


def mean_metrics(rows: Sequence[MetricRecord]) -> MetricRecord | None:
    """Average scalar metrics that every row has, weighted by ``num-examples``; None without rows."""
    if not rows:
        return None
    total = sum(_number(row[protocol.NUM_EXAMPLES]) for row in rows)
    common = set.intersection(*(set(row) for row in rows)) - {protocol.NUM_EXAMPLES}
    mean = MetricRecord()
    for name in sorted(common):
        if all(isinstance(row[name], int | float) for row in rows):
            mean[name] = sum(_number(row[name]) * _number(row[protocol.NUM_EXAMPLES]) for row in rows) / total
    return mean


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0
