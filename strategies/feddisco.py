"""FedDisco: aggregation weights that fall with the discrepancy of a client's labels.

Ye, Xu, Wang, Xu, Chen, Wang, "FedDisco: Federated Learning with Discrepancy-Aware Collaboration", ICML 2023,
arXiv 2305.19229:

    p_k = ReLU(n_k - a d_k + b) / sum_j ReLU(n_j - a d_j + b),

with ``n_k`` the share of client k in the samples of the round's participants, ``d_k = D(P_k, T)`` the distance of
its label distribution P_k from a target T (uniform by default), ``a`` the weight of the discrepancy and ``b`` an
offset; ``a = b = 0`` is FedAvg. With ``a = 0`` the offset alone pulls towards equal weights: it holds
K b / (1 + K b) of the weight of K participants.

The official code divides KL discrepancies by their sum over the participants, a step that the printed formula
does not have; it is the default here and ``normalise=False`` is the formula as printed. Where every term is
clipped the official code fails; here the weights fall back to ``n_k`` with a note.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedbal.protocol import LABEL_COUNTS, Disclosure
from strategies.base import AggregationRule
from strategies.report import RoundReport, ServerContext
from strategies.server_optimizers import ServerOptimizer
from strategies.validation import ClientReply, InvalidReplyError
from strategies.weighting import Weighting, Weights, sample_weights

METRICS = ("kl", "l2", "l1", "cosine", "only_iid")


def discrepancy(
    label_counts: ArrayLike, metric: str = "kl", target: ArrayLike | None = None, normalise: bool = True
) -> NDArray[np.float64]:
    """Return the distance of each client's label distribution from the target.

    Parameters
    ----------
    label_counts : array_like, shape (n, C)
        Samples of each class at each client; every client has at least one.
    metric : {"kl", "l2", "l1", "cosine", "only_iid"}
        ``kl``: ``sum_c P ln(P / T)``; ``l2``, ``l1``: norm of ``P - T``; ``cosine``: ``1 - cos(P, T)``;
        ``only_iid``: 0.01 where ``cos(P, T) > 0.9``, else infinity, which drops the client.
    target : array_like, shape (C,), optional
        Positive; scaled to sum 1. None: uniform.
    normalise : bool (default: True)
        Divide by the sum over clients (all zeros stay zeros). Concerns ``kl`` only.

    Returns
    -------
    ndarray, shape (n,)
        Discrepancies, float64.
    """
    counts = np.asarray(label_counts, np.float64)
    if counts.ndim != 2 or not np.isfinite(counts).all() or (counts < 0).any() or (counts.sum(1) <= 0).any():
        raise ValueError("label_counts must be (clients, classes), non-negative, with a sample in every row")
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    goal = np.full(counts.shape[1], 1.0) if target is None else np.asarray(target, np.float64)
    if goal.shape != (counts.shape[1],) or not np.isfinite(goal).all() or (goal <= 0).any():
        raise ValueError(f"target must be {counts.shape[1]} positive numbers, one a class, got {target!r}")
    goal = goal / goal.sum()
    share = counts / counts.sum(1, keepdims=True)
    if metric == "kl":
        return _kl(share, goal, normalise)
    distance: NDArray[np.float64]
    if metric == "l2":
        distance = np.sqrt(((share - goal) ** 2).sum(1))
    elif metric == "l1":
        distance = np.abs(share - goal).sum(1)
    else:
        cosine = (share @ goal) / (np.linalg.norm(share, axis=1) * np.linalg.norm(goal))
        distance = 1.0 - cosine if metric == "cosine" else np.where(cosine > 0.9, 0.01, np.inf)
    return distance


def _kl(share: NDArray[np.float64], goal: NDArray[np.float64], normalise: bool) -> NDArray[np.float64]:
    """Return Kullback-Leibler divergences, with 0 ln 0 = 0, rounding below zero cut off."""
    ratio = np.where(share > 0, share / goal, 1.0)
    divergence: NDArray[np.float64] = np.maximum((share * np.log(ratio)).sum(1), 0.0)
    total = float(divergence.sum())
    return divergence / total if normalise and total > 0 else divergence


def disco_weights(num_examples: ArrayLike, discrepancies: ArrayLike, a: float, b: float) -> Weights:
    """Return FedDisco's aggregation weights.

    Parameters
    ----------
    num_examples : array_like, shape (n,)
        Samples of each participant, positive.
    discrepancies : array_like, shape (n,)
        ``d_k >= 0``; infinity drops a client unless ``a`` is 0.
    a, b : float
        Weight of the discrepancy and offset, >= 0.

    Returns
    -------
    ndarray, shape (n,)
        Weights, float64, summing to 1; where every term is clipped, the sample shares.
    """
    if a < 0 or b < 0:
        raise ValueError(f"a and b must be >= 0, got a={a}, b={b}")
    shares = sample_weights(num_examples)
    distances = np.asarray(discrepancies, np.float64)
    if distances.shape != shares.shape or np.isnan(distances).any():
        raise ValueError(f"need {shares.size} discrepancies, none of them NaN, got {discrepancies!r}")
    terms: Weights = np.maximum(_terms(shares, distances, a, b), 0.0)
    total = float(terms.sum())
    return terms / total if total > 0 else shares


def _terms(shares: Weights, distances: Weights, a: float, b: float) -> Weights:
    """Return ``n_k - a d_k + b``; with ``a = 0`` an infinite discrepancy weighs nothing."""
    return shares - (a * distances if a > 0 else 0.0) + b


class DiscrepancyAware(Weighting):
    """FedDisco's weights, for any rule that averages.

    Parameters
    ----------
    a : float (default: 0.5)
        Weight of the discrepancy, >= 0.
    b : float (default: 0.1)
        Offset, >= 0. ``a = b = 0`` is FedAvg.
    metric : str (default: "kl")
        See :func:`discrepancy`. ``l1``, ``l2`` and ``cosine`` are not normalised and want ``a <= 0.1``.
    normalise : bool (default: True)
        Normalise ``kl`` over the participants.
    target : sequence of float, optional
        Target label distribution, one positive number a class.
    scale_by_cohort : bool (default: False)
        Divide ``a`` and ``b`` by the number K of participants, so that they mean the same in every cohort size.
    """

    requests = (LABEL_COUNTS,)
    discloses = (
        Disclosure(
            name=LABEL_COUNTS,
            size="8 bytes a class",
            frequency="every round the client takes part in",
            privacy="reveals how many samples of each class the client trains on",
        ),
    )
    needs = "scalars"

    def __init__(
        self,
        a: float = 0.5,
        b: float = 0.1,
        metric: str = "kl",
        normalise: bool = True,
        target: Sequence[float] | None = None,
        scale_by_cohort: bool = False,
    ) -> None:
        if a < 0 or b < 0:
            raise ValueError(f"a and b must be >= 0, got a={a}, b={b}")
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
        self.a = a
        self.b = b
        self.metric = metric
        self.normalise = normalise
        self.target = target
        self.scale_by_cohort = scale_by_cohort

    def check(self, reply: ClientReply, context: ServerContext | None) -> None:
        """Require label counts: one non-negative number a class, not all zero."""
        counts = np.asarray(reply.extras[LABEL_COUNTS])
        if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.number):
            raise InvalidReplyError(f"{LABEL_COUNTS} must be a list of numbers")
        expected = context.num_classes if context else counts.size
        if counts.size != expected:
            raise InvalidReplyError(f"{LABEL_COUNTS} has {counts.size} entries for {expected} classes")
        if not np.isfinite(counts).all() or (counts < 0).any() or counts.sum() <= 0:
            raise InvalidReplyError(f"{LABEL_COUNTS} must be non-negative with a positive sum")

    def weights(self, replies: Sequence[ClientReply], report: RoundReport) -> Weights:
        """Weigh the survivors of the round; ``n_k`` and normalised ``d_k`` are relative to them."""
        counts = np.asarray([reply.extras[LABEL_COUNTS] for reply in replies], np.float64)
        distances = discrepancy(counts, self.metric, self.target, self.normalise)
        shares = sample_weights([reply.num_examples for reply in replies])
        scale = len(replies) if self.scale_by_cohort else 1
        a, b = self.a / scale, self.b / scale
        if (_terms(shares, distances, a, b) <= 0.0).all():
            report.notes.append("FedDisco clipped every client; the weights are FedAvg's this round")
        if len(replies) * b > 2.0:
            even = len(replies) * b / (1 + len(replies) * b)
            report.notes.append(
                f"FedDisco's b = {b:g} alone spreads {even:.0%} of the weight of {len(replies)} clients evenly; "
                "lower b or set scale_by_cohort"
            )
        for reply, share, distance in zip(replies, shares, distances, strict=True):
            report.note_client(reply.node, sample_share=float(share), discrepancy=float(distance))
        return disco_weights([reply.num_examples for reply in replies], distances, a, b)


class FedDisco(AggregationRule):
    """FedAvg with discrepancy-aware weights; a preset of that weighting.

    Parameters
    ----------
    a, b, metric, normalise, target, scale_by_cohort
        As in :class:`DiscrepancyAware`; ``a = b = 0`` is FedAvg.
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update.
    """

    def __init__(
        self,
        a: float = 0.5,
        b: float = 0.1,
        metric: str = "kl",
        normalise: bool = True,
        target: Sequence[float] | None = None,
        scale_by_cohort: bool = False,
        server_optimizer: ServerOptimizer | None = None,
    ) -> None:
        weighting = DiscrepancyAware(a, b, metric, normalise, target, scale_by_cohort)
        super().__init__(weighting, server_optimizer)
        self.a = a
        self.b = b
        self.metric = metric
        self.normalise = normalise
        self.target = target
        self.scale_by_cohort = scale_by_cohort
