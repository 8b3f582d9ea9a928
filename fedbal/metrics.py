"""How good a model is for each class, from statistics that add up.

Confusion matrices are summed over clients and evaluated once, so that the same numbers come out of a
simulation, of real devices and of one pooled test set. An undefined number is None, never NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

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

    accuracy: float | None
    balanced_accuracy: float | None
    macro_f1: float | None
    per_class_recall: list[float | None]
    worst_class_recall: float | None
    loss: float | None


def classification_report(confusion: Confusion) -> ClassificationReport:
    """Turn summed statistics into the class view.

    ``balanced_accuracy`` is the mean and ``worst_class_recall`` the minimum of the recalls of the classes
    that the test set has; ``macro_f1`` is the mean over all declared classes, where a class that is never
    right, absent ones included, counts 0. ``loss`` is the mean over samples, None when it is not finite.
    """
    counts, n = confusion.counts, confusion.n
    if n == 0:
        nothing: list[float | None] = [None] * len(counts)
        return ClassificationReport(
            accuracy=None,
            balanced_accuracy=None,
            macro_f1=None,
            per_class_recall=nothing,
            worst_class_recall=None,
            loss=None,
        )
    right, support, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    recall = [int(hit) / int(size) if size else None for hit, size in zip(right, support, strict=True)]
    present = [value for value in recall if value is not None]
    f1 = 2 * right / np.maximum(support + predicted, 1)
    return ClassificationReport(
        accuracy=confusion.correct / n,
        balanced_accuracy=math.fsum(present) / len(present),
        macro_f1=float(f1.mean()),
        per_class_recall=recall,
        worst_class_recall=min(present),
        loss=finite(confusion.loss_sum / n),
    )


def finite(value: float) -> float | None:
    """Return ``value``, or None in place of NaN and infinities, which JSON does not have."""
    return value if math.isfinite(value) else None
