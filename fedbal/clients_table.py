"""``clients.csv``: what each client of a run holds, one row each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbal.data.federation import Federation

BLOCK = 10_000
"""Rows that are formatted at a time."""


def client_table(
    federation: Federation, counts: NDArray[np.int64], speeds: NDArray[np.float64]
) -> Iterator[str]:
    """Yield the table in pieces, so that it never stands in memory as a whole.

    Parameters
    ----------
    federation : Federation
        Who holds what.
    counts : ndarray, shape (clients, classes)
        Training rows of each client and class.
    speeds : ndarray, shape (clients,)
        Samples per simulated second.
    """
    attributes = {"samples_per_second": speeds}
    if federation.shift is not None:
        attributes[federation.shift.column] = federation.shift.strengths
    if federation.label_noise is not None:
        attributes["label_noise"] = federation.label_noise
    if (foreground := federation.foreground()) is not None:
        attributes["foreground"] = foreground
    parts = {"train": federation.train, "validation": federation.validation}
    sizes = [shards.sizes for shards in (*parts.values(), federation.client_test)]
    classes = [f"class_{name}" for name in federation.counted_classes]
    yield _lines([["client", *parts, "client_test", *attributes, *classes]])
    for first in range(0, federation.num_clients, BLOCK):
        block = slice(first, first + BLOCK)
        yield from _rows(federation.names[block], sizes, attributes, counts, block)


def _rows(
    names: Sequence[str],
    sizes: Sequence[NDArray[np.int64]],
    attributes: Mapping[str, NDArray[np.float64]],
    counts: NDArray[np.int64],
    block: slice,
) -> Iterator[str]:
    whole = np.column_stack([size[block] for size in sizes]).tolist()
    drawn = np.column_stack([values[block] for values in attributes.values()]).tolist()
    written = [",".join(f"{value:.6g}" for value in row) for row in drawn]
    # One format for a whole row of integers: the csv module would look at every cell on its own.
    three, held = "%d," * len(sizes), ",%d" * counts.shape[1] + "\n"
    yield "".join(
        f"{_quoted(name)},{three % tuple(own)}{text}{held % tuple(count)}"
        for name, own, text, count in zip(names, whole, written, counts[block].tolist(), strict=True)
    )


def _quoted(name: str) -> str:
    return name if name.isalnum() else _lines([[name, ""]]).removesuffix(",\n")


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
