"""The end of a run in numbers that do not hang on one lucky round: means over the last tenth of the rounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedbal.metrics import mean_of_known

NESTED = ("natural", "balanced", "posthoc")


def last_tenth(rows: Iterable[Mapping[str, Any]], rounds: int) -> dict[str, Any] | None:
    """Average the test metrics over the evaluated rounds among the last 10 % of the rounds.

    Parameters
    ----------
    rows : iterable of mapping
        Rows of rounds, as in ``rounds.jsonl``.
    rounds : int
        Rounds of the run; the last ``ceil(rounds / 10)`` count.

    Returns
    -------
    dict or None
        ``from_round``, ``to_round``, ``evaluated`` (how many rounds the means are over), and the mean of each
        scalar metric over the rounds in which it exists; None when none of these rounds was evaluated.
    """
    first = rounds - -(-rounds // 10) + 1
    tests = [row["test"] for row in rows if first <= row["round"] <= rounds and row["test"]]
    if not tests:
        return None
    return {"from_round": first, "to_round": rounds, "evaluated": len(tests), **_means(tests)}


def both_views(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the two views of fairness at the end of a run.

    Parameters
    ----------
    row : mapping
        The last row of ``rounds.jsonl``.

    Returns
    -------
    dict
        ``performance``: how the final model's quality differs between clients, None where none was asked;
        ``credit``: what the weights of the last round went with, None for a rule that does not say its weights.
    """
    return {"performance": (row["fairness"] or {}).get("final"), "credit": row["credit"]}


def _means(tests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means: dict[str, Any] = {}
    for name in tests[-1]:
        values = [test.get(name) for test in tests]
        if name in NESTED:
            present = [value for value in values if value is not None]
            means[name] = _means(present) if present else None
        elif not any(isinstance(value, list | dict) for value in values):
            means[name] = mean_of_known(values)
    return means
