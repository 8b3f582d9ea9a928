"""FedCE: weights are estimated contributions, from update directions and from what a model lacks without a client.

Jiang, Roth, Li, Yang, Zhao, Nath, Xu, Dou, Xu, "Fair Federated Medical Image Segmentation via Client Contribution
Estimation", CVPR 2023, arXiv 2303.16520; the official code's second release is the default here. In round t, with
updates ``D_k = w_k - w^t`` (trainable parameters, flattened) and prior weights q (those of the round before):

    g = sum_j q_j D_j,    s_k = cos(D_k, g - q_k D_k),    S_k = mean of s_k over k's rounds
    G = norm(1 - S),      E = norm(e),
    plus: c = norm(G + E),    times: c = norm(G * E),    w^{t+1} = w^t + sum_k c_k D_k,

where ``norm`` clips at 1e-6 and divides by the sum. The client's score ``e_k = 1 - mean over rounds of v`` comes
from ``v``, the score in [0, 1] on its own validation data of the minus model
``w_{-k} = (w^t - c_k w_k^t) / (1 - c_k)``, the global model without its own part. The first release kept the prior
uniform for ever (``prior="uniform"``).

A client that reports a high score or an unusual update gains weight: this is fairness, not robustness. The
server must see every single update, so secure summation is impossible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from flwr.app import ConfigRecord
from numpy.typing import ArrayLike, NDArray

from fedbal.protocol import CONTRIBUTION, SCORE, Arrays, Disclosure
from strategies.base import AggregationRule
from strategies.validation import ClientReply, InvalidReplyError
from strategies.weighting import Weights

EPSILON = 1e-6
LARGEST = 0.95
"""Largest weight told to a client: the minus model divides by one minus it."""


def leave_one_out_cosines(updates: ArrayLike, prior: ArrayLike) -> NDArray[np.float64]:
    """Return the cosine of each update to the others' consensus, ``cos(D_k, sum_{j != k} q_j D_j)``.

    Parameters
    ----------
    updates : array_like, shape (n, p)
        One flat update a client.
    prior : array_like, shape (n,)
        ``q_k``, non-negative.

    Returns
    -------
    ndarray, shape (n,)
        Cosines in [-1, 1], float64; 0 where either norm is 0.
    """
    deltas, weights = np.asarray(updates, np.float64), np.asarray(prior, np.float64)
    if deltas.ndim != 2 or weights.shape != (len(deltas),) or (weights < 0).any():
        raise ValueError(
            f"need (n, p) updates and n non-negative prior weights, got {deltas.shape}, {prior!r}"
        )
    if not np.isfinite(deltas).all() or not np.isfinite(weights).all():
        raise ValueError("updates and prior must be finite")
    others = (weights[:, None] * deltas).sum(0) - weights[:, None] * deltas
    norms = np.linalg.norm(deltas, axis=1) * np.linalg.norm(others, axis=1)
    products = np.einsum("kp,kp->k", deltas, others)
    cosines: NDArray[np.float64] = np.where(norms > 0, products / np.where(norms > 0, norms, 1.0), 0.0)
    bounded: NDArray[np.float64] = np.clip(cosines, -1.0, 1.0)
    return bounded


def contribution_weights(mean_cosines: ArrayLike, scores: ArrayLike, mode: str = "plus") -> Weights:
    """Return FedCE's weights.

    Parameters
    ----------
    mean_cosines : array_like, shape (n,)
        ``S_k``, in [-1, 1].
    scores : array_like, shape (n,)
        ``e_k``, non-negative; larger is more contribution.
    mode : {"plus", "times"}
        How the two terms meet.

    Returns
    -------
    ndarray, shape (n,)
        Weights, float64, non-negative, summing to 1.
    """
    cosines, values = np.asarray(mean_cosines, np.float64), np.asarray(scores, np.float64)
    if cosines.ndim != 1 or cosines.shape != values.shape or not cosines.size:
        raise ValueError(f"need as many cosines as scores, got shapes {cosines.shape} and {values.shape}")
    if not np.isfinite(cosines).all() or not np.isfinite(values).all():
        raise ValueError("cosines and scores must be finite")
    if mode not in ("plus", "times"):
        raise ValueError(f"mode must be plus or times, got {mode!r}")
    direction, data = normalised(1.0 - cosines), normalised(values)
    return normalised(direction + data if mode == "plus" else direction * data)


def normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clip below at 1e-6 and divide by the sum."""
    clipped: NDArray[np.float64] = np.maximum(values, EPSILON)
    shares: NDArray[np.float64] = clipped / clipped.sum()
    return shares


class FedCE(AggregationRule):
    """Weights by estimated contribution; made for full participation of at least two clients.

    Parameters
    ----------
    mode : {"plus", "times"}
        How the direction term and the data term meet (default: plus).
    prior : {"previous", "uniform"}
        Consensus weights: those of the round before (default), or uniform for ever.
    """

    requests = (SCORE,)
    discloses = (
        Disclosure(
            name=SCORE,
            size="8 bytes",
            frequency="every round the client takes part in",
            privacy="how well the model without the client does on its validation data: its local difficulty",
        ),
    )

    def __init__(
        self, mode: Literal["plus", "times"] = "plus", prior: Literal["previous", "uniform"] = "previous"
    ) -> None:
        super().__init__()
        if mode not in ("plus", "times") or prior not in ("previous", "uniform"):
            raise ValueError(
                f"mode must be plus or times and prior previous or uniform, got {mode!r}, {prior!r}"
            )
        self.mode: Literal["plus", "times"] = mode
        self.prior: Literal["previous", "uniform"] = prior
        self._weights: dict[int, float] = {}
        self._cosines: dict[int, tuple[float, int]] = {}

    def config_for(self, node: int) -> ConfigRecord:
        """Tell a client its own weight in the model that it receives, 0 if it had no part in it."""
        return ConfigRecord({CONTRIBUTION: min(self._weights.get(node, 0.0), LARGEST)})

    def check(self, reply: ClientReply) -> None:
        """Require one score in [0, 1]."""
        super().check(reply)
        values = reply.extras[SCORE]
        if not isinstance(values, list) or len(values) != 1 or not _in_unit_interval(values[0]):
            raise InvalidReplyError(f"{SCORE} must be one number in [0, 1], got {values!r}")

    def weights(self, replies: Sequence[ClientReply]) -> Weights:
        """Estimate contributions from this round's updates and scores."""
        nodes = [reply.node for reply in replies]
        updates = np.stack([_flat_update(reply.arrays, self.current) for reply in replies])
        for node, cosine in zip(nodes, leave_one_out_cosines(updates, self._priors(nodes)), strict=True):
            mean, count = self._cosines.get(node, (0.0, 0))
            self._cosines[node] = ((mean * count + float(cosine)) / (count + 1), count + 1)
        means = [self._cosines[node][0] for node in nodes]
        scores = [_score(reply) for reply in replies]
        weights = contribution_weights(means, scores, self.mode)
        for node, mean, score, weight in zip(nodes, means, scores, weights, strict=True):
            self._weights[node] = float(weight)
            self.report.note_client(node, mean_cosine=mean, score=score)
        return weights

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return weights and running cosines of every client seen."""
        nodes = sorted(self._weights)
        means = [self._cosines[node] for node in nodes]
        return {
            "nodes": np.array(nodes, np.int64),
            "weights": np.array([self._weights[node] for node in nodes], np.float64),
            "cosines": np.array([mean for mean, _ in means], np.float64),
            "counts": np.array([count for _, count in means], np.int64),
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        nodes = [int(node) for node in state.get("nodes", np.zeros(0))]
        self._weights = dict(zip(nodes, map(float, state["weights"]), strict=True)) if nodes else {}
        rows = zip(map(float, state["cosines"]), map(int, state["counts"]), strict=True) if nodes else []
        self._cosines = dict(zip(nodes, rows, strict=False))

    def _priors(self, nodes: Sequence[int]) -> Weights:
        """Return consensus weights: a new client starts at one over the number known."""
        if self.prior == "uniform" or not self._weights:
            return np.full(len(nodes), 1.0 / len(nodes))
        fresh = 1.0 / (len(self._weights) + 1)
        known = np.array([self._weights.get(node, fresh) for node in nodes])
        weights: Weights = known / known.sum()
        return weights


def _flat_update(model: Arrays, current: Arrays) -> NDArray[np.float64]:
    floating = [name for name, value in current.items() if np.issubdtype(value.dtype, np.inexact)]
    parts = [(model[name].astype(np.float64) - current[name].astype(np.float64)).ravel() for name in floating]
    return np.concatenate(parts)


def _score(reply: ClientReply) -> float:
    values = reply.extras[SCORE]
    assert isinstance(values, list)
    return float(values[0])


def _in_unit_interval(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0.0 <= value <= 1.0
