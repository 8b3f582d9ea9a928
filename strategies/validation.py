"""Validation of replies: a bad reply is dropped, counted and named; it is never averaged and never fatal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message

from fedbal import protocol
from fedbal.protocol import Arrays
from strategies.mean import Stack

SIGNATURE = tuple[str, tuple[int, ...]]
"""Dtype and shape of one array."""


@dataclass(frozen=True)
class ClientReply:
    """A valid reply, decoded.

    Attributes
    ----------
    node : int
        Node id of the client.
    num_examples : float
        Training samples, > 0.
    arrays : dict of ndarray
        The client's model, same names, shapes and dtypes as the global one.
    metrics : mapping
        Its metrics.
    extras : mapping
        What the rule asked for.
    records : dict of dict of ndarray
        Further array records of the reply, by name, same names and shapes as the model's where they share them.
    block : int
        Which block of the cohort it belongs to, see :mod:`strategies.mean`.
    """

    node: int
    num_examples: float
    arrays: Arrays
    metrics: Mapping[str, Any]
    extras: Mapping[str, Any]
    records: dict[str, Arrays] = field(default_factory=dict)
    block: int = 0


@dataclass
class Validated:
    """Replies sorted by node id, and the reason for every one left out."""

    replies: list[ClientReply] = field(default_factory=list)
    dropped: dict[int, str] = field(default_factory=dict)
    stack: Stack | None = None
    """The models of the replies as rows, where they came so."""

    @property
    def models(self) -> Sequence[Arrays]:
        """The models of the replies."""
        return [reply.arrays for reply in self.replies] if self.stack is None else self.stack


class InvalidReplyError(ValueError):
    """Why one reply cannot be used."""


def signature(arrays: Mapping[str, Any]) -> dict[str, SIGNATURE]:
    """Return dtype and shape of every array of a model."""
    return {name: (str(value.dtype), tuple(value.shape)) for name, value in arrays.items()}


def signature_of_record(record: ArrayRecord) -> dict[str, SIGNATURE]:
    """Return dtype and shape as declared in a record, without decoding it."""
    return {name: (array.dtype, tuple(array.shape)) for name, array in record.items()}


def validate(
    messages: Iterable[Message],
    reference: Mapping[str, SIGNATURE],
    server_round: int,
    check: Callable[[ClientReply], None] | None = None,
    blocks: Mapping[int, int] | None = None,
) -> Validated:
    """Sort replies by node and keep the usable ones.

    Parameters
    ----------
    messages : iterable of Message
        Replies in any order.
    reference : mapping
        Name to (dtype, shape) of the global model.
    server_round : int
        The round that the replies must belong to.
    check : callable, optional
        A rule's own check; raises ``InvalidReplyError``.
    blocks : mapping, optional
        Node id to its block; None: all in one.
    """
    result = Validated()
    seen: set[int] = set()
    for message in sorted(messages, key=lambda reply: reply.metadata.src_node_id):
        node = message.metadata.src_node_id
        try:
            if node in seen:
                raise InvalidReplyError("duplicate: a second reply in one round")
            seen.add(node)
            reply = _decode(message, reference, server_round, (blocks or {}).get(node, 0))
            if check is not None:
                check(reply)
            result.replies.append(reply)
        except InvalidReplyError as error:
            result.dropped.setdefault(node, str(error))
    return result


def failed(code: int, reason: str | None) -> str:
    """Return why a reply that is an error is left out."""
    return f"error {code}: {reason}"


def _decode(
    message: Message, reference: Mapping[str, SIGNATURE], server_round: int, block: int
) -> ClientReply:
    if message.has_error():
        raise InvalidReplyError(failed(message.error.code, message.error.reason))
    content = message.content
    base = content.config_records.get(protocol.REPLY, ConfigRecord()).get(protocol.BASE_VERSION, server_round)
    if base != server_round:
        raise InvalidReplyError(f"stale: it started from round {base!r}, this is round {server_round}")
    metrics = protocol.metrics_of(content)
    weight = metrics.get(protocol.NUM_EXAMPLES)
    if not isinstance(weight, int | float) or not math.isfinite(weight) or weight <= 0:
        raise InvalidReplyError(f"{protocol.NUM_EXAMPLES} must be a positive finite number, got {weight!r}")
    extras = content.config_records.get(protocol.EXTRAS, ConfigRecord())
    try:
        main = protocol.arrays_of(content)
    except ValueError as error:
        raise InvalidReplyError(str(error)) from error
    arrays = _decoded(main, reference)
    records = {}
    for name, record in content.array_records.items():
        if record is not main:
            shared = {key: reference[key] for key in reference if key in record}
            records[name] = _decoded(record, shared)
    return ClientReply(message.metadata.src_node_id, float(weight), arrays, metrics, extras, records, block)


def _decoded(record: ArrayRecord, reference: Mapping[str, SIGNATURE]) -> Arrays:
    check_layout(signature_of_record(record), reference)
    try:
        arrays = {name: record[name].numpy() for name in reference}
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise InvalidReplyError(f"an array cannot be decoded: {error}") from error
    for name, value in arrays.items():
        _check_signature(name, (str(value.dtype), value.shape), reference[name])
        if np.issubdtype(value.dtype, np.inexact) and not np.isfinite(value).all():
            raise InvalidReplyError(non_finite(name))
    return arrays


def check_layout(given: Mapping[str, SIGNATURE], reference: Mapping[str, SIGNATURE]) -> None:
    """Raise ``InvalidReplyError`` unless names, dtypes and shapes are those of ``reference``."""
    missing, surplus = set(reference) - set(given), set(given) - set(reference)
    if missing or surplus:
        raise InvalidReplyError(f"array names differ: missing {sorted(missing)}, unknown {sorted(surplus)}")
    for name, declared in given.items():
        _check_signature(name, declared, reference[name])


def non_finite(name: str) -> str:
    """Return why a reply with NaN or infinity in an array is left out."""
    return f"non-finite values in array {name!r}"


def _check_signature(name: str, given: SIGNATURE, expected: SIGNATURE) -> None:
    if given != expected:
        raise InvalidReplyError(
            f"array {name!r} is {given[0]} {given[1]}, the model has {expected[0]} {expected[1]}"
        )
