"""Whom a federated model serves better than training alone does, client by client on their own test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedbal.final_clients import FinalScore

MIN_SAMPLES = 1
"""Test rows from which on a client counts: both models see the same rows, so that luck favours neither."""


@dataclass(frozen=True)
class BetterThanAlone:
    """How many clients a model serves better than their own.

    Attributes
    ----------
    clients, samples : int
        Clients that are compared, and their test rows.
    share : float
        Share of them that are better off, in [0, 1]; a tie counts half.
    weighted : float
        The same with clients weighted by test rows.
    """

    clients: int
    samples: int
    share: float
    weighted: float


def better_than_alone(
    scores: Mapping[str, FinalScore], alone: Mapping[str, FinalScore], min_samples: int = MIN_SAMPLES
) -> BetterThanAlone | None:
    """Compare a method with local training of the same seed.

    Parameters
    ----------
    scores : mapping
        Client key to its scores at the end of the method's run; a client's own model counts where there is one,
        else the global one.
    alone : mapping
        The same of the run in which every client trained alone.
    min_samples : int
        Clients with fewer test rows are left out, >= 1 (default: 1).

    Returns
    -------
    BetterThanAlone or None
        Over the clients that were scored in both runs; None if there is none. Such a share falls when few test rows
        make ties, and tells nothing of by how much.
    """
    rows = []
    for client, base in alone.items():
        other = scores.get(client)
        if other is None or other.samples < min_samples:
            continue
        value = other.received if other.personal is None else other.personal
        if value is not None and base.personal is not None:
            rows.append((other.samples, value - base.personal))
    if not rows:
        return None
    samples, differences = np.array(rows).T
    better = np.where(differences == 0.0, 0.5, differences > 0.0)
    return BetterThanAlone(
        clients=len(rows),
        samples=int(samples.sum()),
        share=float(better.mean()),
        weighted=float(better @ samples / samples.sum()),
    )
