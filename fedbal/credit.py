"""Who gets credit in a round: what the weights of its replies go with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from fedbal.contribution.correlation import spearman


class Credit(TypedDict):
    """The weights' side of fairness, beside the spread of the model's quality over clients."""

    clients: int
    effective_clients: float
    largest: float
    weight_to_samples: float | None
    weight_to_received: float | None


def credit(rows: Sequence[Mapping[str, Any]]) -> Credit | None:
    """Describe the weights of a round.

    Parameters
    ----------
    rows : sequence of mapping
        The round's rows of ``clients.jsonl``; those without a weight do not count.

    Returns
    -------
    Credit or None
        ``clients``: how many have a weight. ``effective_clients``: 1 / sum of squared weights, from 1 (one has
        all) to ``clients`` (all the same). ``largest``: the largest weight. ``weight_to_samples``,
        ``weight_to_received``: rank correlation in [-1, 1] of the weights with the training samples, and with the
        score of the received model on the client's own test rows; None where one side is the same for all, or a
        score is missing. None where no client has a weight.
    """
    weighted = [row for row in rows if row["weight"] is not None]
    weights = np.array([row["weight"] for row in weighted], np.float64)
    if not len(weights) or not (weights**2).sum() > 0.0:
        return None
    received = [_received(row) for row in weighted]
    known = [score for score in received if score is not None]
    return Credit(
        clients=len(weighted),
        effective_clients=float(weights.sum() ** 2 / (weights**2).sum()),
        largest=float(weights.max()),
        weight_to_samples=spearman(weights, [row["num_examples"] for row in weighted]),
        weight_to_received=spearman(weights, known) if len(known) == len(weighted) else None,
    )


def _received(row: Mapping[str, Any]) -> float | None:
    """Return the score of the received model, whatever the task calls it."""
    return next((value for key, value in row.items() if key.startswith("received_")), None)
