"""One rule in one recorded round: the recorded replies as messages, through the rule's own hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from fedbal import protocol
from fedbal.assembly import Assembly
from fedbal.cohort_round import as_model
from fedbal.comparison.replay_rules import Rule, strategy_of
from fedbal.foreign import keep_valid, restore_state, seeded_sampling, state_of
from fedbal.grid.inprocess import InProcessGrid
from fedbal.offered import OfferedGrid
from fedbal.protocol import Arrays, to_arrays, to_record
from fedbal.recorded import RecordedRound
from strategies.base import AggregationRule
from strategies.validation import ClientReply

EMPTY = "it keeps state between rounds, which starts empty in every replayed round"


@dataclass(frozen=True)
class Replayed:
    """What a rule made of a round.

    Attributes
    ----------
    arrays : Arrays, optional
        Its next model; None if it failed.
    reason : str, optional
        Why it failed.
    weights : mapping
        Node id to weight; empty if the rule says none.
    dropped : mapping
        Node id to the reason of every reply that it left out.
    note : str
        What one must know of the result; may be empty.
    """

    arrays: Arrays | None
    reason: str | None = None
    weights: Mapping[int, float] = field(default_factory=dict)
    dropped: Mapping[int, str] = field(default_factory=dict)
    note: str = ""


def aggregate(rule: Rule, recorded: RecordedRound, assembly: Assembly, seed: int) -> Replayed:
    """Let a fresh strategy ask the recorded cohort and aggregate its recorded replies.

    Parameters
    ----------
    rule : Rule
        The rule; the run's own starts from the state that it had.
    recorded : RecordedRound
        The round.
    assembly : Assembly
        The run's parts.
    seed : int
        Training seed, for stock strategies that sample.
    """
    strategy = strategy_of(rule, assembly)
    if rule.own:
        restore_state(strategy, recorded.state)
    before = {name: value.copy() for name, value in state_of(strategy).items()}
    try:
        return _aggregated(rule, strategy, recorded, assembly, seed, before)
    except Exception as error:
        return Replayed(None, f"{type(error).__name__}: {error}")


def _aggregated(
    rule: Rule,
    strategy: Strategy,
    recorded: RecordedRound,
    assembly: Assembly,
    seed: int,
    before: Mapping[str, NDArray[Any]],
) -> Replayed:
    nodes, number = list(recorded.cohort), recorded.round
    grid = OfferedGrid(InProcessGrid(ClientApp(), assembly.directory, nodes), nodes)
    config = ConfigRecord({protocol.SERVER_ROUND: number})
    with seeded_sampling(seed, number):
        list(strategy.configure_train(number, to_record(recorded.arrays), config, grid))
    replies = [_message(reply, recorded, number) for reply in recorded.replies]
    if isinstance(strategy, AggregationRule):
        made, _ = strategy.aggregate_train(number, replies)
        weights, dropped = strategy.report.weights, strategy.report.dropped
    else:
        kept, validated = keep_valid(replies, recorded.arrays, number)
        made, _ = strategy.aggregate_train(number, kept)
        weights, dropped = {}, validated.dropped
    arrays = recorded.arrays if made is None else as_model(to_arrays(made), recorded.arrays)
    # Before round 1 there is no state yet: an empty one is the true one.
    forgets = not rule.own and number > 1 and not _same(before, state_of(strategy))
    return Replayed(arrays, None, weights, dropped, EMPTY if forgets else "")


def _message(reply: ClientReply, recorded: RecordedRound, server_round: int) -> Message:
    """Return a recorded reply as the message that it was, with what the simulation knows of the client beside."""
    content = RecordDict(
        {
            protocol.ARRAYS: to_record(reply.arrays),
            protocol.METRICS: MetricRecord(dict(reply.metrics)),
            protocol.REPLY: ConfigRecord(
                {protocol.BASE_VERSION: server_round, protocol.CODEC: protocol.FP32}
            ),
        }
    )
    for name, record in reply.records.items():
        content[name] = to_record(record)
    if extras := recorded.extras(reply.node):
        content[protocol.EXTRAS] = ConfigRecord(extras)
    return Message(content, reply_to=Message(RecordDict(), reply.node, MessageType.TRAIN))


def _same(before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]) -> bool:
    return set(before) == set(after) and all(np.array_equal(before[name], after[name]) for name in before)
