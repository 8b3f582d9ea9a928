"""What every aggregation rule promises: fedbal's own, a user's and, as far as it applies, Flower's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Message
from flwr.serverapp.strategy import Strategy

from fedbal.contract.base import (
    Broken,
    Item,
    Skipped,
    construct,
    parameters_are_stored,
    require,
    require_close,
)
from fedbal.contract.replies import MODEL, ask, error_reply, model, reply_to
from fedbal.foreign import keep_valid, restore_state, seeded_sampling, state_of, with_defaults
from fedbal.protocol import CONTROL_DELTA, Arrays, to_arrays, to_record
from strategies.base import AggregationRule
from strategies.report import ServerContext

COUNTS = ((8, 2), (1, 4), (5, 5))
SIZES = (10, 5, 10)
SHIFTS = (1.0, 2.0, -3.0)


@dataclass(frozen=True)
class RuleSubject:
    """A rule under examination; every check makes instances of its own.

    Attributes
    ----------
    kind : type
        Its class.
    parameters : Mapping
        Constructor arguments.
    extras : Mapping
        What replies carry besides label counts, for rules that ask for more.
    """

    kind: type[Strategy]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Strategy:
        """Return a new instance that knows of two classes."""
        rule: Strategy = construct(self.kind, **with_defaults(self.kind, self.parameters))
        if isinstance(rule, AggregationRule):
            rule.context = ServerContext(num_classes=2, learning_rate=0.1)
        return rule

    def reply(self, message: Message, arrays: Arrays, client: int) -> Message:
        """Answer as client 0, 1 or 2."""
        answer = reply_to(message, arrays, SIZES[client], counts=COUNTS[client], **self.extras)
        if CONTROL_DELTA in {entry.name for entry in getattr(self.kind, "discloses", ())}:
            answer.content[CONTROL_DELTA] = to_record({"w": 0.1 * model(float(client))["w"]})
        return answer

    def aggregate(
        self, rule: Strategy, order: Sequence[int] = (0, 1, 2), shifts: Sequence[float] = SHIFTS
    ) -> Arrays:
        """Run one round in which clients reply in ``order`` with models moved by ``shifts``."""
        messages = _asked(rule)
        return result(rule, [self.reply(messages[k], model(shifts[k]), k) for k in order])


def result(rule: Strategy, replies: Sequence[Message]) -> Arrays:
    """Aggregate replies as the round loop does; raises :class:`Broken` when nothing comes out."""
    if isinstance(rule, AggregationRule):
        record, _ = rule.aggregate_train(1, replies)
        dropped = rule.report.dropped
    else:
        kept, validated = keep_valid(replies, MODEL, 1)
        record, _ = rule.aggregate_train(1, kept)
        dropped = validated.dropped
    if record is None:
        reasons = "; ".join(f"client {node}: {reason}" for node, reason in dropped.items())
        raise Broken(f"there is no new model although clients replied ({reasons or 'no reason given'})")
    arrays = to_arrays(record)
    if set(arrays) != set(MODEL):
        arrays = dict(zip(MODEL, arrays.values(), strict=True))
    return arrays


def _asked(rule: Strategy, nodes: Sequence[int] = (2, 3, 4)) -> list[Message]:
    with seeded_sampling(0, 1):
        messages = sorted(ask(rule, nodes), key=lambda message: message.metadata.dst_node_id)
    asked = [message.metadata.dst_node_id for message in messages]
    require(asked == list(nodes), f"the rule was offered nodes {list(nodes)} and asked {asked}")
    return messages


def _own(rule: Strategy, why: str) -> AggregationRule:
    if not isinstance(rule, AggregationRule):
        raise Skipped(f"does not apply to a stock Flower strategy: {why}")
    return rule


def _without_server_step(rule: Strategy) -> Strategy:
    """Make the combination itself the result: a server step (momentum, Adam) may go elsewhere on purpose."""
    if isinstance(rule, AggregationRule):
        vars(rule)["server_step"] = lambda current, combined: combined
    return rule


def _close_or_server_step(rule: Strategy, found: Arrays, expected: float) -> None:
    try:
        require_close(found["w"], model(expected)["w"], "the new model")
    except Broken as broken:
        if isinstance(rule, AggregationRule):
            raise
        raise Skipped(f"{broken}, which a stock strategy with a server optimizer does on purpose") from broken


def order_does_not_matter(subject: RuleSubject) -> str:
    """Replies in another order give the same bytes."""
    straight = subject.aggregate(subject.make())
    turned = subject.aggregate(subject.make(), order=(2, 0, 1))
    require(
        straight["w"].tobytes() == turned["w"].tobytes(),
        f"another order of replies moves the model by up to {np.abs(straight['w'] - turned['w']).max():.3g}",
    )
    return "replies in two orders give the same bytes"


def one_client_stays(subject: RuleSubject) -> str:
    """One client in, that client out."""
    rule = _without_server_step(subject.make())
    messages = _asked(rule, (2,))
    found = result(rule, [subject.reply(messages[0], model(7.0), 0)])
    _close_or_server_step(rule, found, 7.0)
    return "a single reply comes out as it went in"


def equal_models_stay(subject: RuleSubject) -> str:
    """Equal client models are the new model, whatever their weights."""
    rule = _without_server_step(subject.make())
    _close_or_server_step(rule, subject.aggregate(rule, shifts=(2.0, 2.0, 2.0)), 2.0)
    return "three equal models come out as they went in"


def bad_clients_are_named(subject: RuleSubject) -> str:
    """A client with NaN and a client that failed are dropped and named; the rest counts alone."""
    rule = _without_server_step(subject.make())
    messages = _asked(rule)
    bad = model(0.0)
    bad["w"][0, 0] = np.nan
    replies = [
        subject.reply(messages[0], model(1.0), 0),
        subject.reply(messages[1], bad, 1),
        error_reply(messages[2]),
    ]
    found = result(rule, replies)
    if not isinstance(rule, AggregationRule):
        require(bool(np.isfinite(found["w"]).all()), f"the new model is {found['w'].ravel().tolist()}")
        return "the reply with NaN and the failed one were dropped before the strategy saw them"
    require_close(found["w"], model(1.0)["w"], "the new model, which is the good client's,")
    dropped, weights = rule.report.dropped, rule.report.weights
    require(set(dropped) == {3, 4}, f"nodes 3 (NaN) and 4 (failed) are bad, dropped were {dropped}")
    require("non-finite" in dropped[3] and "boom" in dropped[4], f"the reasons are {dropped}")
    require(weights == {2: 1.0}, f"the one good client weighs 1, the report says {weights}")
    return f"dropped with the reason {dropped[3]!r}"


def nothing_valid_keeps_the_model(subject: RuleSubject) -> str:
    """Without a valid reply there is no new model and no error."""
    rule = _own(subject.make(), "the round loop does not call it without a valid reply")
    found = rule.aggregate_train(1, [error_reply(message) for message in _asked(rule)])
    require(found == (None, None), f"all clients failed and the rule returned {found!r}")
    require(len(rule.report.dropped) == 3, f"3 clients failed, dropped were {rule.report.dropped}")
    return "when every client fails the model stays and all are named"


def weights_are_a_distribution(subject: RuleSubject) -> str:
    """Weights are non-negative and sum to 1."""
    rule = _own(subject.make(), "it reports no weights")
    subject.aggregate(rule)
    weights = np.array(list(rule.report.weights.values()))
    shown = ", ".join(f"{weight:.4g}" for weight in weights)
    require(weights.shape == (3,), f"3 clients replied, weights were given to {sorted(rule.report.weights)}")
    require(bool((weights >= 0).all()), f"a weight is negative or NaN: {shown}")
    require(abs(float(weights.sum()) - 1.0) <= 1e-6, f"the weights {shown} sum to {weights.sum():.6g}")
    return f"weights {shown}"


def state_round_trips(subject: RuleSubject) -> str:
    """A new instance that gets the state goes on with the same bytes."""
    rule, other = subject.make(), subject.make()
    subject.aggregate(rule)
    state = {name: value.copy() for name, value in state_of(rule).items()}
    restore_state(other, state)
    here, there = subject.aggregate(rule), subject.aggregate(other)
    require(
        here["w"].tobytes() == there["w"].tobytes(),
        "after state_dict and load_state_dict the next round differs by up to "
        f"{np.abs(here['w'] - there['w']).max():.3g}",
    )
    one, two = ({name: value.tobytes() for name, value in state_of(each).items()} for each in (rule, other))
    changed = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
    require(not changed, f"state that differs after a round trip and a round: {', '.join(changed)}")
    if isinstance(rule, AggregationRule):
        return f"state kept between rounds: {', '.join(sorted(state)) or 'none'}"
    return f"{len(state)} attributes are kept between rounds"


def layout_is_kept(subject: RuleSubject) -> str:
    """Names, dtypes, shapes and integer buffers are those of the model."""
    rule = subject.make()
    found = subject.aggregate(rule)
    if not isinstance(rule, AggregationRule):
        shapes = {name: value.shape for name, value in found.items()}
        wanted = {name: value.shape for name, value in MODEL.items()}
        require(shapes == wanted, f"shapes are {shapes}, the model has {wanted}")
        return "shapes are kept; the round loop puts dtypes back"
    for name, value in MODEL.items():
        given, wanted_layout = (found[name].dtype, found[name].shape), (value.dtype, value.shape)
        require(given == wanted_layout, f"array {name!r} is {given}, the model has {wanted_layout}")
    require(bool(found["steps"] == MODEL["steps"]), f"the counter 3 became {found['steps']}")
    return "float32 stays float32, shapes and integer counters stay"


def instances_agree(subject: RuleSubject) -> str:
    """Two instances with the same parameters give the same bytes in two rounds."""
    first, second = subject.make(), subject.make()
    for _ in range(2):
        here, there = subject.aggregate(first), subject.aggregate(second)
        require(
            here["w"].tobytes() == there["w"].tobytes(),
            f"two instances differ by up to {np.abs(here['w'] - there['w']).max():.3g}",
        )
    return "two instances give the same bytes in two rounds"


def parameters_stored(subject: RuleSubject) -> str:
    """Constructor parameters are only stored."""
    rule = _own(subject.make(), "its constructor is Flower's business")
    return parameters_are_stored(subject.kind, rule, subject.parameters)


ITEMS: tuple[Item[RuleSubject], ...] = (
    Item(
        "order of replies does not matter",
        order_does_not_matter,
        "replies reach weights() and combine() sorted by node; use no set order, no random draw, no state of "
        "the previous call.",
    ),
    Item(
        "one client in, that client out",
        one_client_stays,
        "divide by the sum of the weights; for one reply weights() must return [1.0].",
    ),
    Item(
        "equal models stay",
        equal_models_stay,
        "weights must sum to 1; combine() must be a weighted mean of models.",
    ),
    Item(
        "a client with NaN is named and dropped",
        bad_clients_are_named,
        "work on the replies that weights() and combine() are given: they are validated. Do not override "
        "aggregate_train; put a check of your own into check(reply) and raise InvalidReplyError.",
    ),
    Item(
        "without a valid reply the model stays",
        nothing_valid_keeps_the_model,
        "do not override aggregate_train, or return (None, None) when nothing valid is left.",
    ),
    Item(
        "weights are a distribution",
        weights_are_a_distribution,
        "end weights() with: return raw / raw.sum(), raw non-negative, float64, one number a reply.",
    ),
    Item(
        "state survives a checkpoint",
        state_round_trips,
        "return everything kept between rounds from state_dict() as arrays by name, and set it in "
        "load_state_dict().",
    ),
    Item(
        "dtypes, shapes and integer buffers are kept",
        layout_is_kept,
        "return arrays of the model's names, dtypes and shapes: strategies.base.weighted_mean does.",
    ),
    Item(
        "two instances agree",
        instances_agree,
        "draw every random number from fedbal.seeding.stream(seed, purpose, round); keep no class attribute "
        "that changes.",
    ),
    Item(
        "parameters are only stored",
        parameters_stored,
        "in __init__ write self.name = name for every parameter, check it there, and derive nothing.",
    ),
)
"""Checks that need no training."""
