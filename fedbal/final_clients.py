"""``final_clients.csv``: how the final model and their own do on the test rows of all clients that evaluate."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fedbal.clients_table import quoted
from fedbal.errors import RunError
from fedbal.measures.base import ClientResult, Evaluated
from fedbal.results import FINAL_CLIENTS


class FinalScore(NamedTuple):
    """One client at the end of a run; scores in [0, 1], accuracy or (masks) Dice."""

    samples: int
    """Test rows."""
    received: float | None
    """Score of the final global model; None without test rows."""
    personal: float | None
    """Score of the client's own model; None if it has none."""


def final_table(scores: Mapping[int, Evaluated], key: Callable[[int], str], metric: str) -> Iterator[str]:
    """Yield the table, one client a row, in pieces.

    Parameters
    ----------
    scores : mapping
        Node id to what its evaluation of the final model came to.
    key : callable
        Node id to client key.
    metric : str
        What the score is called: ``accuracy``, ``dice``.
    """
    yield f"client,test_samples,{metric},personal_{metric}\n"
    for node, score in scores.items():
        yield f"{quoted(key(node))},{score.received.n},{_text(score.received)},{_text(score.personal)}\n"


def read_final(directory: Path) -> dict[str, FinalScore]:
    """Read a run's table: client key to scores; empty for a run without one.

    Raises
    ------
    RunError
        The file is damaged.
    """
    path = directory / FINAL_CLIENTS
    if not path.exists():
        return {}
    with path.open(newline="") as lines:
        _, *rows = csv.reader(lines)
    try:
        return {
            client: FinalScore(int(samples), _number(received), _number(personal))
            for client, samples, received, personal in rows
        }
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def _text(score: ClientResult | None) -> str:
    # All digits: whether two models tie on a client must not depend on rounding.
    return "" if score is None or score.value is None else repr(float(score.value))


def _number(text: str) -> float | None:
    return float(text) if text else None
