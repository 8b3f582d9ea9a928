"""Federations of up to millions of clients over one pool of rows, each row held by several clients."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from fedbal.data.dataset import Dataset, IntArray
from fedbal.data.federation import Federation, Shards

POPULATION = "population.json"


class Numbered(Sequence[str]):
    """Client names ``"0"``, ``"1"``, ... without a string for each.

    Parameters
    ----------
    clients : int
        How many.
    """

    def __init__(self, clients: int) -> None:
        self._clients = clients

    def __len__(self) -> int:
        return self._clients

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """Return a name, or the names of a slice."""
        if isinstance(index, slice):
            return [str(number) for number in range(*index.indices(self._clients))]
        if not -self._clients <= index < self._clients:
            raise IndexError(index)
        return str(index % self._clients)


def repeated(clients: int, samples: int, pool: int) -> Shards:
    """Return index lists that go through the pool again and again, every client's ascending.

    Parameters
    ----------
    clients, samples : int
        How many clients, and rows of each.
    pool : int
        Rows there are; a multiple of ``samples``.
    """
    if pool % samples:
        raise ValueError(f"a pool of {pool} rows is no multiple of {samples}")
    indices: IntArray = np.arange(clients * samples, dtype=np.int64)
    indices %= pool
    return Shards(indices, np.arange(clients + 1, dtype=np.int64) * samples)


def federation_of(task: Path) -> Federation:
    """Return the federation of a task folder with a ``population.json``."""
    plan = json.loads((task / POPULATION).read_text())
    x, y, x_test, y_test = (np.load(task / f"{name}.npy") for name in ("x", "y", "x_test", "y_test"))
    dataset = Dataset("population", x, y, x_test, y_test, tuple(map(str, range(plan["classes"]))))
    train = repeated(plan["clients"], plan["samples"], len(y))
    nobody = Shards(np.empty(0, np.int64), np.zeros(plan["clients"] + 1, np.int64))
    return Federation(dataset, train, nobody, nobody, Numbered(plan["clients"]))


@contextmanager
def repeated_rows(task: Path) -> Iterator[None]:
    """Let several clients hold the same rows, which no scenario asks for: the pool stays small."""
    if not (task / POPULATION).exists():
        yield
        return

    def made(*_: Any, **__: Any) -> Federation:
        return federation_of(task)

    with patch("fedbal.assembly.load_federation", made):
        yield
