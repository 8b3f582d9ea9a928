"""The base of every rule: offer, validate, weigh, combine, step; a Flower strategy throughout.

Weighting and server optimizer are axes of their own; a rule sets them, or replaces
:meth:`AggregationRule.weights`, :meth:`AggregationRule.combine` or :meth:`AggregationRule.server_step`.
Everything around them is here once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from logging import INFO, getLogger
from typing import Any, NamedTuple

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from fedbal import protocol
from fedbal.protocol import Arrays, Disclosure, to_arrays, to_record
from strategies.alignment import mean_update, numbers, products
from strategies.cohort import CohortSampler
from strategies.mean import Sums, blocks_of, maxima, rounded, weighted_mean, weighted_sums
from strategies.order import CohortOrder
from strategies.report import RoundReport, ServerContext
from strategies.server_optimizers import ServerOptimizer
from strategies.stacked import Kept, StackedReplies
from strategies.validation import ClientReply, InvalidReplyError, Validated, signature, validate
from strategies.weighting import BySamples, Needs, Weighting, Weights

__all__ = ["AggregationRule", "mean_metrics", "needs_of", "takes_stacks", "train_metrics", "weighted_mean"]


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
    needs: Needs = "scalars"
    """What the rule reads of replies before their weighted mean is made, see :func:`needs_of`."""

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
        self._blocks: dict[int, int] = {}
        self._latest: _Latest | None = None

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
        return self.mean(replies, weights)

    def mean(self, replies: Sequence[ClientReply], weights: Weights, record: str | None = None) -> Arrays:
        """Return the weighted mean of the clients' models, or of a further record of their replies.

        Sums run in the order that :mod:`strategies.mean` fixes, the same wherever the clients are trained.
        """
        latest = self._latest
        if record is None and latest and latest.replies is replies and latest.weights is weights:
            models = [reply.arrays for reply in replies]
            return rounded(latest.sums, models[0], maxima(models))
        chosen = [reply.arrays if record is None else reply.records[record] for reply in replies]
        return weighted_mean(chosen, weights, _blocks(replies))

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

    def order(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> CohortOrder:
        """Return what the cohort is asked to train: the global model for all, and what single clients are told.

        A rule that has more to say replaces this, not :meth:`configure_train`, and so needs no message a client.
        """
        self.current = to_arrays(arrays)
        asked = self._order(server_round, arrays, config, grid, self.asks)
        for name, record in self.sends().items():
            asked = asked.bringing(name, record)
        own = {node: config for node in asked.nodes if (config := self.config_for(node))}
        self._blocks = blocks_of(asked.cohort)
        return asked.telling(own) if own else asked

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the global model to the cohort."""
        return self.order(server_round, arrays, config, grid).messages(MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Validate the replies and make the next global model; nothing valid: the model stays."""
        reference = signature(self.current)
        validated = validate(replies, reference, server_round, self.check, self._blocks)
        following, metrics = self.aggregate(server_round, validated)
        return None if following is None else to_record(following), metrics

    def aggregate_stacked(
        self, server_round: int, replies: StackedReplies
    ) -> tuple[Arrays | None, MetricRecord | None]:
        """Do as :meth:`aggregate_train` with replies that came as stacks."""
        return self.aggregate(server_round, replies.validated(self.check, self._blocks), replies.kept)

    def aggregate(
        self, server_round: int, validated: Validated, kept: Kept | None = None
    ) -> tuple[Arrays | None, MetricRecord | None]:
        """Make the next global model of valid replies; none: the model stays.

        Parameters
        ----------
        server_round : int
            Round, from 1.
        validated : Validated
            The replies, by node.
        kept : Kept, optional
            Where the models are when replies come without them, see :func:`needs_of`.
        """
        self.report = RoundReport(dropped=dict(validated.dropped))
        replies = validated.replies
        if not replies:
            return None, None
        weights = self.weights(replies)
        of_node = {reply.node: float(weight) for reply, weight in zip(replies, weights, strict=True)}
        models = validated.models
        sums, largest = (
            (weighted_sums(models, weights, _blocks(replies)), {}) if kept is None else kept.sums(of_node)
        )
        mean = mean_update(self.current, sums, weights)
        if kept is None:
            dots, squares = products(self.current, models, mean)
        else:
            found = kept.products(mean)
            dots, squares = np.array([found[reply.node] for reply in replies]).T
        for reply, lies in zip(replies, numbers(dots, squares, mean), strict=True):
            self.report.note_client(reply.node, **lies)
        if kept is None:
            self._latest = _Latest(replies, weights, sums)
            combined = self.combine(replies, weights)
            self._latest = None
        else:
            combined = rounded(sums, self.current, largest)
        following = self.server_step(self.current, combined)
        self.current = following
        self.report.weights = of_node
        return following, train_metrics(validated)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the global model to the cohort for evaluation."""
        return self._order(server_round, arrays, config, grid).messages(MessageType.EVALUATE)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Average the clients' evaluation metrics, weighted by their test samples."""
        contents = [reply.content for reply in replies if reply.has_content()]
        rows = [protocol.metrics_of(content) for content in contents]
        return mean_metrics([row for row in rows if _positive(row.get(protocol.NUM_EXAMPLES))])

    def summary(self) -> None:
        """Log the rule's name and parameters."""
        getLogger("flwr").log(INFO, "\t├──> %s", type(self).__name__)

    def _order(
        self,
        server_round: int,
        arrays: ArrayRecord,
        config: ConfigRecord,
        grid: Grid,
        asks: Sequence[str] = (),
    ) -> CohortOrder:
        nodes = sorted(grid.get_node_ids())
        cohort = nodes if self.sampler is None else sorted(self.sampler.sample(server_round, nodes))
        sent = config.copy()
        sent[protocol.SERVER_ROUND] = server_round
        if asks:
            sent[protocol.REQUESTS] = list(asks)
        content = RecordDict({protocol.ARRAYS: arrays, protocol.CONFIG: sent})
        return CohortOrder(server_round, tuple(cohort), content)


class _Latest(NamedTuple):
    """Sums of the round, made once for diagnostics and mean."""

    replies: Sequence[ClientReply]
    weights: Weights
    sums: Sums


def needs_of(rule: AggregationRule) -> Needs:
    """Return whether a rule fixes its weights by scalars and averages, or reads the clients' models.

    ``scalars``: sample counts, losses and extras are all it reads before the weighted mean, which the workers may
    then sum themselves. A rule that replaces ``weights``, ``combine`` or ``check`` is taken to read the models
    unless its class (or a later one) says ``needs = "scalars"``; so is a rule whose weighting does not say so.
    """
    for kind in type(rule).__mro__:
        own = vars(kind)
        if "needs" in own:
            if own["needs"] == "scalars" and rule.weigher.needs != "scalars":
                return "updates"
            needs: Needs = own["needs"]
            return needs
        if own.keys() & {"weights", "combine", "check", "mean", "aggregate"}:
            return "updates"
    return "updates"


def takes_stacks(rule: AggregationRule) -> bool:
    """Tell whether a rule can do without a message a client: it replaces none of Flower's training hooks."""
    return keeps(rule, "configure_train") and keeps(rule, "aggregate_train")


def keeps(rule: AggregationRule, hook: str) -> bool:
    """Tell whether a rule has one of Flower's hooks as it is here."""
    return getattr(type(rule), hook) is getattr(AggregationRule, hook) and hook not in vars(rule)


def _blocks(replies: Sequence[ClientReply]) -> list[int]:
    return [reply.block for reply in replies]


def train_metrics(validated: Validated) -> MetricRecord:
    """Return the training metrics of the survivors, weighted by samples."""
    return mean_metrics([reply.metrics for reply in validated.replies]) or MetricRecord()


def mean_metrics(rows: Sequence[Mapping[str, Any]]) -> MetricRecord | None:
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
