"""Weighted sums of many models in one fixed order.

Floating-point sums depend on their order. Here it is fixed by the cohort alone: the clients that were chosen, in
the order of their node ids, fall into blocks of ``max(1, cohort // 32)``; each block is summed from its first
client to its last, then the blocks from first to last. Whoever computes a block, and wherever, comes to the same
bytes. Below 64 clients every block is one client and the sum is the plain one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fedbal.protocol import Arrays

BLOCKS = 32
ROWS_AT_ONCE = 1 << 16
"""Numbers that are held in float64 at a time (512 KiB, a processor's cache), but at least one model."""

Sums = dict[str, NDArray[np.float64]]
"""Float64 sums by the name of the array."""


def block_size(cohort: int) -> int:
    """Return how many neighbouring clients of a cohort are summed together."""
    return max(1, cohort // BLOCKS)


def blocks_of(cohort: Sequence[int]) -> dict[int, int]:
    """Return the block of each node of a cohort, which is given in ascending order."""
    size = block_size(len(cohort))
    return {node: position // size for position, node in enumerate(cohort)}


def weighted_mean(
    models: Sequence[Arrays], weights: NDArray[np.float64], blocks: Sequence[int] | None = None
) -> Arrays:
    """Return ``sum_k weights[k] * models[k]`` array by array.

    Sums run in float64, block by block and in the order given, then return to the model's dtype. Integer and
    boolean buffers (counters, masks) are not averaged: they take the element-wise maximum.

    Parameters
    ----------
    models : sequence of Arrays
        One a client.
    weights : ndarray, (n,)
        Their weights.
    blocks : sequence of int, optional
        The block of each model, as in ``ClientReply.block``; None: all in one, the plain sum.
    """
    return rounded(weighted_sums(models, weights, blocks), models[0], maxima(models))


def weighted_sums(
    models: Sequence[Arrays], weights: NDArray[np.float64], blocks: Sequence[int] | None = None
) -> Sums:
    """Return the sums of :func:`weighted_mean` before they are rounded; floating arrays only."""
    like = {name: value for name, value in models[0].items() if np.issubdtype(value.dtype, np.inexact)}
    if not like:
        return {}
    total = np.zeros(sum(value.size for value in like.values()))
    part = np.empty_like(total)
    rows = _weighted_rows(models, weights, list(like), total.size)
    for length in _runs(blocks, len(models)):
        part[:] = 0.0
        for _ in range(length):
            part += next(rows)
        total += part
    sums: Sums = {}
    for name, value in like.items():
        sums[name], total = total[: value.size].reshape(value.shape), total[value.size :]
    return sums


def rounded(sums: Mapping[str, NDArray[np.float64]], like: Arrays, largest: Arrays) -> Arrays:
    """Return sums in a model's dtypes and order, and in place of what is not averaged its maximum."""
    return {
        name: sums[name].astype(value.dtype) if name in sums else largest[name]
        for name, value in like.items()
    }


def maxima(models: Sequence[Arrays]) -> Arrays:
    """Return the element-wise maximum over models of every array that is not averaged."""
    return {
        name: np.maximum.reduce([model[name] for model in models])
        for name, value in models[0].items()
        if not np.issubdtype(value.dtype, np.inexact)
    }


def rows_at_once(count: int, size: int) -> int:
    """Return how many of ``count`` rows of ``size`` numbers are held as float64 at a time."""
    return max(1, min(count, ROWS_AT_ONCE // max(1, size)))


def row_groups(count: int, size: int) -> Iterator[slice]:
    """Cut ``count`` rows of ``size`` numbers into slices that fit in memory as float64."""
    step = rows_at_once(count, size)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


class Stack(Sequence[Arrays]):
    """Models as the rows of one array a parameter.

    Parameters
    ----------
    arrays : Arrays
        Name to (n, ...), at least one.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @overload
    def __getitem__(self, row: int) -> Arrays: ...
    @overload
    def __getitem__(self, row: slice) -> Stack: ...
    def __getitem__(self, row: int | slice) -> Arrays | Stack:
        if isinstance(row, slice):
            return Stack({name: stack[row] for name, stack in self.arrays.items()})
        return {name: np.asarray(stack[row]) for name, stack in self.arrays.items()}


def rows_of(models: Sequence[Arrays], part: slice, name: str) -> NDArray[np.inexact[Any]]:
    """Return one array of some models, flat, (k, size)."""
    if isinstance(models, Stack):
        stack = models.arrays[name][part]
    else:
        stack = np.stack([model[name] for model in models[part]])
    return stack.reshape(len(stack), -1)


def _weighted_rows(
    models: Sequence[Arrays], weights: NDArray[np.float64], names: Sequence[str], size: int
) -> Iterator[NDArray[np.float64]]:
    """Iterate over the models, each as one flat array times its weight."""
    # One buffer for all: fresh memory of this size costs as much as the sum.
    buffer = np.empty((rows_at_once(len(models), size), size))
    for part in row_groups(len(models), size):
        rows, first = buffer[: part.stop - part.start], 0
        for name in names:
            own = rows_of(models, part, name)
            rows[:, first : first + own.shape[1]] = own
            first += own.shape[1]
        rows *= weights[part, None]
        yield from rows


def _runs(blocks: Sequence[int] | None, count: int) -> list[int]:
    if blocks is None:
        return [count]
    if len(blocks) != count:
        raise ValueError(f"{count} models need as many blocks, got {len(blocks)}")
    return [len(list(run)) for _, run in groupby(blocks)]
