"""The weighting axis: how much each valid reply counts in the average.

A weighting composes with every rule that averages and with every server optimizer:
``strategy: {name: fedavgm, weighting: {name: feddisco, a: 0.5}}``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedbal.protocol import Disclosure
from strategies.report import RoundReport, ServerContext
from strategies.validation import ClientReply

Weights = NDArray[np.float64]
Needs = Literal["scalars", "updates"]
"""What is read of replies: numbers alone, or the clients' models too."""


class Weighting(ABC):
    """Turns the valid replies of a round into weights."""

    requests: tuple[str, ...] = ()
    """Extras that it asks of every client."""
    discloses: tuple[Disclosure, ...] = ()
    """What leaves a site because of it."""
    needs: Needs = "updates"
    """What it reads of replies; with ``scalars`` workers may sum the models, and ``reply.arrays`` is then empty."""

    def check(self, reply: ClientReply, context: ServerContext | None) -> None:
        """Raise ``InvalidReplyError`` for a reply that lacks what this weighting needs."""
        return

    @abstractmethod
    def weights(self, replies: Sequence[ClientReply], report: RoundReport) -> Weights:
        """Return one weight a reply, shape (n,), non-negative, summing to 1.

        May add diagnostics and notes to ``report``.
        """


class BySamples(Weighting):
    """FedAvg's weights, ``p_k = n_k / sum_j n_j`` over the round's valid replies."""

    needs = "scalars"

    def weights(self, replies: Sequence[ClientReply], report: RoundReport) -> Weights:
        """Weigh by sample counts."""
        return sample_weights([reply.num_examples for reply in replies])


class Uniform(Weighting):
    """Equal weights, whatever a client's size: the control for every rule that pulls towards uniform."""

    needs = "scalars"

    def weights(self, replies: Sequence[ClientReply], report: RoundReport) -> Weights:
        """Weigh equally."""
        return np.full(len(replies), 1.0 / len(replies))


def sample_weights(num_examples: ArrayLike) -> Weights:
    """Return ``p_k = n_k / sum_j n_j``.

    Parameters
    ----------
    num_examples : array_like, shape (n,)
        Samples of each client, positive.

    Returns
    -------
    ndarray, shape (n,)
        Weights, float64, summing to 1.
    """
    counts = np.asarray(num_examples, np.float64)
    if counts.ndim != 1 or not counts.size or not np.isfinite(counts).all() or (counts <= 0).any():
        raise ValueError(f"num_examples must be a non-empty vector of positive numbers, got {num_examples!r}")
    weights: Weights = counts / counts.sum()
    return weights
