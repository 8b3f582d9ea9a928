"""How a client's model travels to the server: as it is, or as a shortened update.

``fp32`` sends the tensors as they are. ``fp16`` and ``int8`` send the difference to the received model instead,
half or a quarter as large: in half precision, or as whole numbers in -127 .. 127 times one scale a tensor,

    q = round((u + e) / s),    s = max |u + e| / 127,    e <- (u + e) - s q,

with the update ``u`` and an error ``e`` that the client keeps and adds to its next update (error feedback: Seide,
Fu, Droppo, Li, Yu, "1-bit stochastic gradient descent and its application to data-parallel distributed training
of speech DNNs", Interspeech 2014; Karimireddy, Rebjock, Stich, Jaggi, "Error feedback fixes SignSGD and other
gradient compression schemes", ICML 2019). Whole-number tensors, such as counts of batches, travel as they are.
Client and server add with the same function, so a client knows to the bit what the server makes of its reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flwr.app import ConfigRecord, Error, Message, RecordDict
from numpy.typing import NDArray

from fedbal import protocol
from fedbal.protocol import FP16, FP32, INT8, Arrays, to_arrays, to_record

REFUSED = 2
"""Error code of a reply that cannot be decoded; that of a ClientApp that raised."""
_LARGEST = 127
_TRAVELS_AS = {FP16: "float16", INT8: "int8"}


class Encoded(NamedTuple):
    """A model as it travels.

    Attributes
    ----------
    codec : str
        ``fp32``, ``fp16`` or ``int8``.
    arrays : dict of ndarray
        Names and shapes of the model's.
    scales : list of float
        One for each shortened tensor, in their order; ``int8`` only.
    """

    codec: str
    arrays: Arrays
    scales: list[float]

    def config(self, server_round: int) -> ConfigRecord:
        """Return the reply's record that says how to read it."""
        record = ConfigRecord({protocol.BASE_VERSION: server_round, protocol.CODEC: self.codec})
        if self.scales:
            record[protocol.SCALES] = self.scales
        return record


def encode(
    codec: str, received: Mapping[str, NDArray[Any]], trained: Arrays, error: Mapping[str, NDArray[Any]]
) -> tuple[Encoded, Arrays]:
    """Shorten a client's model; returns what travels and the error to keep.

    Parameters
    ----------
    codec : {"fp16", "int8"}
        How.
    received, trained : dict of ndarray
        The model before and after local training.
    error : dict of ndarray
        What earlier rounds left over; a name that is missing is 0.
    """
    arrays: Arrays = {}
    scales: list[float] = []
    left: Arrays = {}
    for name, value in trained.items():
        if not _shortened(name, received):
            arrays[name] = value
            continue
        with np.errstate(all="ignore"):
            update = value - received[name]
            if codec == FP16:
                arrays[name] = np.asarray(update, np.float16)
                continue
            whole = np.asarray(update + error[name] if name in error else update)
            arrays[name], scale = _whole_numbers(whole)
            scales.append(scale)
            if np.isfinite(scale):
                sent = np.asarray(scale, whole.dtype) * arrays[name].astype(whole.dtype)
                left[name] = np.asarray(whole - sent)
    return Encoded(codec, arrays, scales), left


def decode(
    codec: str, received: Mapping[str, NDArray[Any]], arrays: Arrays, scales: Sequence[float]
) -> Arrays:
    """Return the model that a client means.

    Raises
    ------
    ValueError
        Unknown codec, an array of another type or shape than its codec has, too few or too many scales.
    """
    if codec not in _TRAVELS_AS:
        raise ValueError(f"codec {codec!r} is unknown; known: {FP32}, {', '.join(_TRAVELS_AS)}")
    short = [name for name in arrays if _shortened(name, received)]
    if codec == INT8 and len(scales) != len(short):
        raise ValueError(f"codec {codec}: {len(scales)} scales for {len(short)} tensors")
    scale_of = dict(zip(short, scales, strict=True)) if codec == INT8 else dict.fromkeys(short, 1.0)
    decoded: Arrays = {}
    for name, value in arrays.items():
        if name not in scale_of:
            decoded[name] = value
            continue
        before = received[name]
        if str(value.dtype) != _TRAVELS_AS[codec] or value.shape != before.shape:
            raise ValueError(
                f"codec {codec}: array {name!r} is {value.dtype} {value.shape}, it must be {_TRAVELS_AS[codec]} "
                f"{before.shape}"
            )
        with np.errstate(all="ignore"):
            update = value.astype(before.dtype)
            if codec == INT8:
                update = np.asarray(scale_of[name], before.dtype) * update
            decoded[name] = np.asarray(before + update)
    return decoded


def decoded_replies(replies: Sequence[Message], sent: Sequence[Message]) -> list[Message]:
    """Return replies with their models as if they had travelled as they are; one that cannot be read is an error.

    Parameters
    ----------
    replies : sequence of Message
        What clients answered.
    sent : sequence of Message
        What they were sent: the model that an update is the difference to.
    """
    asked = {message.metadata.dst_node_id: message for message in sent}
    models: dict[int, Arrays] = {}
    return [_decoded(reply, asked.get(reply.metadata.src_node_id), models) for reply in replies]


def _decoded(reply: Message, sent: Message | None, models: dict[int, Arrays]) -> Message:
    if sent is None or not reply.has_content():
        return reply
    about = reply.content.config_records.get(protocol.REPLY, ConfigRecord())
    codec = str(about.get(protocol.CODEC, FP32))
    if codec == FP32:
        return reply
    try:
        record = protocol.arrays_of(sent.content)
        received = models.setdefault(id(record), to_arrays(record))
        scales = about.get(protocol.SCALES, [])
        numbers = [float(one) for one in scales] if isinstance(scales, list) else []
        model = decode(codec, received, to_arrays(protocol.arrays_of(reply.content)), numbers)
    except (ValueError, TypeError, EOFError, OSError) as error:
        return Message(Error(REFUSED, f"the model cannot be decoded: {error}"), reply_to=sent)
    return Message(RecordDict({**reply.content, protocol.ARRAYS: to_record(model)}), reply_to=sent)


def _shortened(name: str, received: Mapping[str, NDArray[Any]]) -> bool:
    return name in received and np.issubdtype(received[name].dtype, np.floating)


def _whole_numbers(values: NDArray[Any]) -> tuple[NDArray[np.int8], float]:
    """Return values in units of a scale, and the scale; NaN for values that are not all finite."""
    largest = float(np.abs(values).max(initial=0.0))
    scale = float(np.float32(largest / _LARGEST))
    if not np.isfinite(scale) or not np.isfinite(largest):
        return np.zeros(values.shape, np.int8), float("nan")
    if scale == 0.0:
        return np.zeros(values.shape, np.int8), 0.0
    quotient = np.rint(values / np.asarray(scale, values.dtype))
    return np.asarray(np.clip(quotient, -_LARGEST, _LARGEST), np.int8), scale
