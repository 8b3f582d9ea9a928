"""Gathers the replies of clients that were trained in this process into stacks, and says which are unusable."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, MetricRecord

from clients.app import CLIENT_RAISED
from clients.jobs import TrainReply
from clients.records import to_host
from fedbal import protocol
from fedbal.protocol import Arrays
from strategies.stacked import RecordStack, StackedPart
from strategies.validation import (
    SIGNATURE,
    InvalidReplyError,
    check_layout,
    failed,
    non_finite,
    signature,
)

CLIENT_EXITED = 8
"""Flower's error code for a client process that ended."""


class Gather:
    """Fills one array a parameter, a row for each reply.

    The reasons for leaving a reply out are those of :func:`strategies.validation.validate`, in its order.

    Parameters
    ----------
    reference : mapping
        Name to (dtype, shape) of the global model.
    count : int
        Most replies to come.
    """

    def __init__(self, reference: Mapping[str, SIGNATURE], count: int) -> None:
        self._reference = reference
        self._stacks: Arrays = {
            name: np.empty((count, *shape), dtype) for name, (dtype, shape) in reference.items()
        }
        self._layout = {name: (stack.dtype, stack.shape[1:]) for name, stack in self._stacks.items()}
        self._usual_bytes = _fixed_bytes() + sum(
            _array_bytes(name, *layout) for name, layout in self._layout.items()
        )
        self._waiting: list[Arrays] = []
        self._nodes: list[int] = []
        self._samples: list[int] = []
        self._losses: list[float] = []
        self._extras: list[dict[str, list[float]]] = []
        self._records: list[dict[str, Arrays]] = []
        self._unusable: dict[int, str] = {}
        self._dropped: dict[int, str] = {}
        self._failed: set[int] = set()
        self._seconds: dict[int, float] = {}
        self._bytes = 0

    def add(self, node: int, answer: TrainReply | BaseException, seconds: float) -> bool:
        """Take one client's answer; tells whether it was a reply, not an error."""
        self._seconds[node] = seconds
        if isinstance(answer, TrainReply):
            try:
                arrays: Arrays = to_host(answer.tensors)
                records = {name: to_host(tensors) for name, tensors in answer.records.items()}
                fits = {name: (value.dtype, value.shape) for name, value in arrays.items()} == self._layout
                size = self._usual_bytes if fits else _fixed_bytes() + _bytes(arrays)
                if records:
                    size += sum(map(_bytes, records.values()))
                if answer.encoded is not None:
                    size += _bytes(answer.encoded.arrays) - _bytes(arrays)
                    size += answer.config.count_bytes() - _usual_config().count_bytes()
                if answer.extras:
                    size += ConfigRecord(dict(answer.extras)).count_bytes()
            except Exception as error:
                answer = error
        if not isinstance(answer, TrainReply):
            self._failed.add(node)
            self._dropped[node] = _reason(answer)
            return False
        self._bytes += size
        if not fits:
            self._dropped[node] = _misfit(arrays, self._reference)
            return True
        try:
            self._records.append(self._checked(records))
        except InvalidReplyError as error:
            self._records.append({})
            self._unusable[len(self._nodes)] = str(error)
        self._waiting.append(arrays)
        self._nodes.append(node)
        self._samples.append(answer.num_examples)
        self._losses.append(answer.loss)
        self._extras.append(answer.extras)
        return True

    def settle(self) -> None:
        """Copy what came since the last time, so that its memory can be used again."""
        if not self._waiting:
            return
        last = len(self._nodes)
        for name, stack in self._stacks.items():
            np.stack([arrays[name] for arrays in self._waiting], out=stack[last - len(self._waiting) : last])
        self._waiting.clear()

    def part(self) -> StackedPart:
        """Return everything that came, finite replies as stacks."""
        self.settle()
        count = len(self._nodes)
        stacks = {name: stack[:count] for name, stack in self._stacks.items()}
        bad = dict(self._unusable)
        for name, stack in reversed(stacks.items()):
            if np.issubdtype(stack.dtype, np.inexact):
                finite = np.isfinite(stack).all(axis=tuple(range(1, stack.ndim)))
                bad.update({row: non_finite(name) for row in np.flatnonzero(~finite).tolist()})
        good = [row for row in range(count) if row not in bad]
        for row, reason in bad.items():
            self._dropped[self._nodes[row]] = reason
        if bad:
            stacks = {name: stack[good] for name, stack in stacks.items()}
        return StackedPart(
            nodes=[self._nodes[row] for row in good],
            num_examples=[self._samples[row] for row in good],
            losses=[self._losses[row] for row in good],
            arrays=stacks,
            extras=[self._extras[row] for row in good],
            records=_stacked([self._records[row] for row in good]),
            dropped=self._dropped,
            failed=frozenset(self._failed),
            seconds=self._seconds,
            num_bytes=self._bytes,
        )

    def _checked(self, records: Mapping[str, Arrays]) -> dict[str, Arrays]:
        checked = {}
        for record, arrays in records.items():
            shared = {name: self._reference[name] for name in self._reference if name in arrays}
            check_layout(signature(arrays), shared)
            for name in shared:
                if np.issubdtype(arrays[name].dtype, np.inexact) and not np.isfinite(arrays[name]).all():
                    raise InvalidReplyError(non_finite(name))
            checked[record] = {name: arrays[name] for name in shared}
        return checked


def _reason(answer: BaseException) -> str:
    if isinstance(answer, SystemExit):
        return failed(CLIENT_EXITED, f"the client exited: {answer}")
    return failed(CLIENT_RAISED, f"{type(answer).__name__}: {answer}")


def _stacked(records: list[dict[str, Arrays]]) -> dict[str, RecordStack]:
    """Stack further records, those of clients with the same arrays in them together."""
    rows_of: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for row, own in enumerate(records):
        for record, arrays in own.items():
            rows_of.setdefault((record, tuple(arrays)), []).append(row)
    stacks: dict[str, RecordStack] = {}
    for (record, names), rows in rows_of.items():
        arrays = {name: np.stack([records[row][record][name] for row in rows]) for name in names}
        if record in stacks:
            raise ValueError(f"clients sent different arrays in the record {record!r}")
        stacks[record] = RecordStack(rows, arrays)
    return stacks


def _misfit(arrays: Arrays, reference: Mapping[str, SIGNATURE]) -> str:
    """Return what is wrong with a reply's layout."""
    try:
        check_layout(signature(arrays), reference)
    except InvalidReplyError as error:
        return str(error)
    raise AssertionError(f"layouts differ and {signature(arrays)} does not say how")


def _bytes(arrays: Arrays) -> int:
    return sum(_array_bytes(name, value.dtype, value.shape) for name, value in arrays.items())


def _array_bytes(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Return the bytes of an array and its name in a message, as Flower counts them."""
    return len(name) + _npy_header(dtype, shape) + math.prod(shape) * dtype.itemsize


@lru_cache(maxsize=4096)
def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Return the bytes that NumPy's file format puts before an array, in which Flower sends it."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    return len(buffer.getvalue())


@lru_cache(maxsize=1)
def _fixed_bytes() -> int:
    metrics = MetricRecord({protocol.NUM_EXAMPLES: 1, protocol.TRAIN_LOSS: 1.0})
    return metrics.count_bytes() + _usual_config().count_bytes()


def _usual_config() -> ConfigRecord:
    return ConfigRecord({protocol.BASE_VERSION: 1, protocol.CODEC: protocol.FP32})
