"""Statistics of predicted probabilities that add up: sums, and fine histograms over log-odds.

Samples are never kept: ranking and calibration come from histograms of the log-odds ``z = ln p - ln(1 - p)``,
so that small probabilities are told apart as finely as large ones. The :data:`BINS` bins are equal in
``asinh(z / 4)``: 0.005 wide around even odds and some 0.1 % of z where a model is very sure, up to
:data:`RANGE`. Scores in one bin count as ties; what that can cost is stated where the histograms are read
(:mod:`fedbal.ranking`, :mod:`fedbal.calibration`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10_000
RANGE = 1000.0
EVEN = 4.0
"""Log-odds up to which bins are about equally wide."""
CHUNK = 1 << 21
"""Probabilities that are looked at together."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a model says about n samples of C classes.

    Attributes
    ----------
    truth : ndarray of int64, (n,)
        True classes.
    right : ndarray of bool, (n,)
        Whether the most probable class is the true one.
    confidence : ndarray, (n,)
        Probability of the most probable class.
    bins : ndarray of int64, (n, C)
        Histogram bin of each probability.
    top : ndarray of int64, (n,)
        Bin of the most probable class.
    nll : ndarray, (n,)
        Negative log likelihood in nats.
    brier : ndarray, (n,)
        ``sum_c (p_c - [y = c])^2``, in [0, 2].
    """

    truth: Ints
    right: NDArray[np.bool_]
    confidence: Floats
    bins: Ints
    top: Ints
    nll: Floats
    brier: Floats


def predictions(logits: ArrayLike, truth: ArrayLike) -> Predictions:
    """Turn logits into what the statistics are made of.

    Parameters
    ----------
    logits : array_like, (n, C)
        Any finite numbers; a row that is not finite gets a non-finite loss, which makes the sums undefined.
    truth : array_like of int, (n,)
        Classes in 0 .. C - 1.
    """
    z = np.asarray(logits, np.float64)
    y = np.asarray(truth, np.int64)
    row = np.arange(len(y))
    with np.errstate(all="ignore"):
        z = z - z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1, keepdims=True)
        p /= total
        z -= np.log(total)
        nll = -z[row, y]
        brier = np.einsum("nc,nc->n", p, p) - 2.0 * p[row, y] + 1.0
        # Near 1 the complement rounds to 0 and the log-odds to infinity: the outermost bin.
        z -= np.log1p(-p)
        np.clip(np.nan_to_num(z, copy=False, posinf=RANGE, neginf=-RANGE), -RANGE, RANGE, out=z)
    np.arcsinh(z / EVEN, out=z)
    half = BINS / 2
    bins = np.minimum((half + z * (half / np.arcsinh(RANGE / EVEN))).astype(np.int64), BINS - 1)
    best = p.argmax(axis=1)
    return Predictions(y, best == y, p[row, best], bins, bins[row, best], nll, brier)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreSums:
    """Summed statistics of predicted probabilities; two of them add up to those of both sets.

    Attributes
    ----------
    mass : float
        Samples, or their summed weights.
    nll, brier : float
        Weighted sums.
    positive : ndarray, (C, BINS)
        Mass of the samples of class c by the bin of their probability of c.
    everyone : ndarray, (C, BINS)
        Mass of all samples by the bin of their probability of c.
    confidence : ndarray, (3, BINS)
        By the bin of the most probable class: mass, mass that is right, mass times probability.
    """

    mass: float
    nll: float
    brier: float
    positive: Floats
    everyone: Floats
    confidence: Floats

    @classmethod
    def of(cls, made: Predictions, weights: Floats | None = None) -> ScoreSums:
        """Sum over samples, each weighted by its true class.

        Parameters
        ----------
        made : Predictions
            The samples.
        weights : ndarray, (C,), optional
            Weight of a sample of each class, >= 0; None: 1.
        """
        classes = made.bins.shape[1]
        mine = np.ones(len(made.truth)) if weights is None else weights[made.truth]
        cells = made.bins + np.arange(classes) * BINS
        own = np.take_along_axis(cells, made.truth[:, None], axis=1)[:, 0]
        spread = None if weights is None else np.repeat(mine, classes)
        shape = (classes, BINS)
        everyone = np.bincount(cells.ravel(), weights=spread, minlength=classes * BINS)
        positive = np.bincount(own, weights=mine, minlength=classes * BINS)
        confidence = [
            np.bincount(made.top, weights=values, minlength=BINS)
            for values in (mine, mine * made.right, mine * np.nan_to_num(made.confidence))
        ]
        return cls(
            mass=float(mine.sum()),
            nll=float(mine @ made.nll),
            brier=float(mine @ made.brier),
            positive=positive.reshape(shape).astype(np.float64, copy=False),
            everyone=everyone.reshape(shape).astype(np.float64, copy=False),
            confidence=np.stack(confidence),
        )

    def __add__(self, other: ScoreSums) -> ScoreSums:
        if self.positive.shape != other.positive.shape:
            raise ValueError(
                f"cannot add scores of {len(self.positive)} and {len(other.positive)} classes; "
                "both must declare the same label set."
            )
        return ScoreSums(
            self.mass + other.mass,
            self.nll + other.nll,
            self.brier + other.brier,
            self.positive + other.positive,
            self.everyone + other.everyone,
            self.confidence + other.confidence,
        )

    @property
    def defined(self) -> bool:
        """Whether there are samples and every one of them has finite probabilities."""
        return self.mass > 0 and bool(np.isfinite([self.nll, self.brier]).all())


def score_sums(
    logits: NDArray[np.floating], truth: Ints, weights: Floats | None = None, *, rows: int | None = None
) -> ScoreSums:
    """Return the statistics of many samples, looked at in chunks.

    Parameters
    ----------
    logits : ndarray, (n, C)
        n >= 1.
    truth : ndarray of int64, (n,)
        Classes in 0 .. C - 1.
    weights : ndarray, (C,), optional
        As in :meth:`ScoreSums.of`.
    rows : int, optional
        Samples a chunk; None: what bounds the memory, but as many as fill the histograms.
    """
    rows = rows or max(CHUNK // logits.shape[1], BINS)
    parts = (slice(start, start + rows) for start in range(0, len(truth), rows))
    total, *others = (ScoreSums.of(predictions(logits[part], truth[part]), weights) for part in parts)
    for other in others:
        total = total + other
    return total
