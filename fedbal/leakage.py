"""Columns that give the label away: a single one of them predicts it nearly without error.

Such a column is usually written down after the label is known (a discharge code, a rescaled copy of the label). A
model that may read it scores well and has learned nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedbal.data.dataset import AnyArray, FloatArray, IntArray
from fedbal.seeding import stream

FEW_VALUES = 50
"""Up to so many distinct numbers a column is looked up value by value, above by the nearest known value."""
SURE = 0.99
"""Balanced accuracy, or area under the ROC curve, from which on a column is named."""
MIN_ROWS = 20


def giveaway(values: AnyArray, numeric: FloatArray | None, present: NDArray[np.bool_], y: IntArray) -> str:
    """Return the evidence that a column alone predicts the label, or nothing.

    Parameters
    ----------
    values : numpy.ndarray
        ``(n,)`` the column as it is.
    numeric : numpy.ndarray, optional
        ``(n,)`` the same as numbers, None if it holds text.
    present : numpy.ndarray
        ``(n,)`` where it is not missing.
    y : numpy.ndarray
        ``(n,)`` labels.
    """
    values, labels = values[present], y[present]
    classes = np.unique(labels)
    if len(labels) < MIN_ROWS or len(classes) < 2:
        return ""
    distinct, code = np.unique(values, return_inverse=True)
    if numeric is not None and len(distinct) > FEW_VALUES:
        return _numeric_evidence(numeric[present], labels, classes)
    score = _held_out_accuracy(code, len(distinct), labels)
    if score < SURE or len(distinct) > len(labels) / 5:
        return ""
    per_value = [len(np.unique(labels[code == value])) for value in range(len(distinct))]
    if max(per_value) == 1:
        return f"each of its {len(distinct)} values goes with one class only"
    return f"alone it predicts unseen rows with balanced accuracy {score:.3f}"


def partly(
    numeric: FloatArray | None, values: AnyArray, present: NDArray[np.bool_], y: IntArray
) -> int | None:
    """Return the class that a column alone tells from all others, None if there is none or only two classes.

    Parameters are those of :func:`giveaway`.
    """
    labels = y[present]
    scores = np.unique(values[present], return_inverse=True)[1] if numeric is None else numeric[present]
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 3:
        return None
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        if count >= MIN_ROWS // 2:
            area = auc(scores.astype(np.float64), labels == label)
            if max(area, 1.0 - area) == 1.0:
                return int(label)
    return None


def auc(scores: FloatArray, positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve, ties counted half: P(score of a positive > of a negative).

    Parameters
    ----------
    scores : numpy.ndarray
        ``(n,)``, higher for positive.
    positive : numpy.ndarray
        ``(n,)``, at least one True and one False.
    """
    _, code, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[code]
    hits = int(positive.sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2.0) / (hits * (len(scores) - hits)))


def _numeric_evidence(values: FloatArray, labels: IntArray, classes: IntArray) -> str:
    if len(classes) == 2:
        area = auc(values, labels == classes[1])
        area = max(area, 1.0 - area)
        if area == 1.0:
            return "one threshold on it separates the two classes without error"
        if area >= SURE:
            return f"its area under the ROC curve is {area:.3f} on its own"
    learn, judge = _halves(len(labels))
    order = learn[np.argsort(values[learn], kind="stable")]
    known = values[order]
    right = np.clip(np.searchsorted(known, values[judge]), 1, len(known) - 1)
    nearer_left = values[judge] - known[right - 1] <= known[right] - values[judge]
    score = _balanced(labels[order[right - nearer_left]], labels[judge])
    return f"alone it predicts unseen rows with balanced accuracy {score:.3f}" if score >= SURE else ""


def _held_out_accuracy(code: IntArray, size: int, labels: IntArray) -> float:
    """Learn each value's class on one half of the rows; return the balanced accuracy on the other half."""
    learn, judge = _halves(len(labels))
    classes = int(labels.max()) + 1
    table = np.zeros((size, classes))
    np.add.at(table, (code[learn], labels[learn]), 1.0)
    # A class counts by its share, or the common class would win every value.
    guess = (table / np.maximum(table.sum(axis=0), 1.0)).argmax(axis=1)
    return _balanced(guess[code[judge]], labels[judge])


def _halves(rows: int) -> tuple[IntArray, IntArray]:
    order = stream(0, "leakage").permutation(rows)
    return order[::2], order[1::2]


def _balanced(guess: IntArray, truth: IntArray) -> float:
    held = np.bincount(truth)
    hits = np.bincount(truth, weights=guess == truth)
    return float((hits[held > 0] / held[held > 0]).mean())
