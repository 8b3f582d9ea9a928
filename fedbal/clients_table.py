"""``clients.csv``: what each client of a run holds, one row each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain
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
    row = "%s" + ",%d" * len(sizes) + ",%.6g" * len(attributes) + ",%d" * len(classes) + "\n"
    for first in range(0, federation.num_clients, BLOCK):
        block = slice(first, first + BLOCK)
        names = [quoted(name) for name in federation.names[block]]
        columns = [*sizes, *attributes.values(), *counts.T]
        cells = zip(names, *(column[block].tolist() for column in columns), strict=True)
        # One format for all rows of a block: the csv module looks at every cell on its own.
        yield row * len(names) % tuple(chain.from_iterable(cells))


def quoted(name: str) -> str:
    """Return a client's key as a cell of a table."""
    return name if name.isalnum() else _lines([[name, ""]]).removesuffix(",\n")


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
