"""How good a model is for each class, from statistics that add up.

Confusion matrices are summed over clients and evaluated once, so that the same numbers come out of a
simulation, of real devices and of one pooled test set. An undefined number is None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """What a model did on some test samples; two of them add up to the statistics of both sets.

    Attributes
    ----------
    counts : ndarray of int64, (C, C)
        Samples by true class (row) and predicted class (column), over all C declared classes.
    loss_sum : float
        Sum, not mean, of the losses of the samples.
    """

    counts: NDArray[np.int64]
    loss_sum: float = 0.0

    @classmethod
    def empty(cls, num_classes: int) -> Confusion:
        """Return the statistics of no sample at all, the start of a sum."""
        return cls(np.zeros((num_classes, num_classes), dtype=np.int64))

    @classmethod
    def of(cls, truth: ArrayLike, predicted: ArrayLike, num_classes: int, loss_sum: float = 0.0) -> Confusion:
        """Count predictions.

        Parameters
        ----------
        truth, predicted : array_like of int, (n,)
            Classes in 0 .. num_classes - 1.
        num_classes : int
            Declared classes C.
        loss_sum : float
            Sum of the losses of these samples.

        Raises
        ------
        ValueError
            The lengths differ or a class is outside the declared ones.
        """
        pairs = np.stack([np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)])
        if pairs.size and (pairs.min() < 0 or pairs.max() >= num_classes):
            raise ValueError(
                f"classes must be in 0 .. {num_classes - 1}, got {pairs.min()} .. {pairs.max()}."
            )
        cells = np.bincount(pairs[0] * num_classes + pairs[1], minlength=num_classes**2)
        return cls(cells.reshape(num_classes, num_classes).astype(np.int64), float(loss_sum))

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.counts.sum())

    @property
    def correct(self) -> int:
        """Number of samples predicted right."""
        return int(np.trace(self.counts))

    def __add__(self, other: Confusion) -> Confusion:
        if self.counts.shape != other.counts.shape:
            raise ValueError(
                f"cannot add statistics of {len(self.counts)} and {len(other.counts)} classes; "
                f"both must declare the same label set."
            )
        return Confusion(self.counts + other.counts, self.loss_sum + other.loss_sum)


class ClassificationReport(TypedDict):
    """The class view of one test set; fractions in [0, 1], loss in nats."""

    samples: int
    accuracy: float | None
    balanced_accuracy: float | None
    macro_f1: float | None
    per_class_recall: list[float | None]
    per_class_precision: list[float | None]
    worst_class_recall: float | None
    g_mean: float | None
    never_predicted: int | None
    loss: float | None


def classification_report(confusion: Confusion) -> ClassificationReport:
    """Turn summed statistics into the class view.

    ``balanced_accuracy`` is the mean, ``worst_class_recall`` the minimum and ``g_mean`` the geometric mean of
    the recalls of the classes that the test set has; ``macro_f1`` is the mean over all declared classes, where
    a class that is never right, absent ones included, counts 0. ``never_predicted`` counts the declared classes
    that the model names for no sample; they have no precision. ``loss`` is the mean over samples, None when it
    is not finite.
    """
    counts, n = confusion.counts, confusion.n
    recall = recalls(counts)
    present = [value for value in recall if value is not None]
    return ClassificationReport(
        samples=n,
        accuracy=confusion.correct / n if n else None,
        balanced_accuracy=balanced_accuracy(counts),
        macro_f1=macro_f1(counts) if n else None,
        per_class_recall=recall,
        per_class_precision=precisions(counts),
        worst_class_recall=min(present, default=None),
        g_mean=geometric_mean(present),
        never_predicted=int((counts.sum(axis=0) == 0).sum()) if n else None,
        loss=finite(confusion.loss_sum / n) if n else None,
    )


def recalls(matrix: NDArray[Any]) -> list[float | None]:
    """Return the recall of each class, None where it has no sample.

    Parameters
    ----------
    matrix : ndarray, (C, C)
        Mass of samples, counted or weighted, by true class (row) and predicted class (column).
    """
    return _ratios(np.diag(matrix), matrix.sum(axis=1))


def precisions(matrix: NDArray[Any]) -> list[float | None]:
    """Return the precision of each class, None where it is never predicted; ``matrix`` as in :func:`recalls`."""
    return _ratios(np.diag(matrix), matrix.sum(axis=0))


def macro_f1(matrix: NDArray[Any]) -> float:
    """Return the mean over all declared classes of 2 PR / (P + R), 0 where a class is never right."""
    mass = matrix.sum(axis=0) + matrix.sum(axis=1)
    return float(np.divide(2 * np.diag(matrix), mass, out=np.zeros(len(matrix)), where=mass > 0).mean())


def balanced_accuracy(matrix: NDArray[Any]) -> float | None:
    """Return the mean recall of the classes that have samples, None without any."""
    present = [value for value in recalls(matrix) if value is not None]
    return math.fsum(present) / len(present) if present else None


def geometric_mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean of numbers >= 0, None without any."""
    if not values:
        return None
    return 0.0 if min(values) == 0.0 else math.exp(math.fsum(map(math.log, values)) / len(values))


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the numbers that exist, None when none does."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def finite(value: float) -> float | None:
    """Return ``value``, or None in place of NaN and infinities, which JSON does not have."""
    return value if math.isfinite(value) else None


def _ratios(part: NDArray[Any], whole: NDArray[Any]) -> list[float | None]:
    pairs = zip(part.tolist(), whole.tolist(), strict=True)
    return [hit / size if size else None for hit, size in pairs]
