"""The test object of a round: the test set as it is, and as if its classes had other shares.

Recalls do not depend on how common the classes of a test set are; accuracy, precision, ranking against the rest and
calibration do. So what depends on it is given a second time where the shares differ: ``natural``, with the classes
as common as in the global training data, and ``balanced``, with equal classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbal.calibration import ece
from fedbal.groups import ClassGroups
from fedbal.metrics import Confusion, classification_report, finite, macro_f1, mean_of_known, precisions
from fedbal.ranking import auprc, auroc
from fedbal.scores import ScoreSums, score_sums

ALIKE = 0.01
"""Class shares that differ by less than this in total variation are the same but for rounding."""


def global_numbers(
    confusion: Confusion,
    logits: NDArray[np.floating],
    truth: NDArray[np.int64],
    groups: ClassGroups,
) -> dict[str, Any]:
    """Return every number of a global test.

    Parameters
    ----------
    confusion : Confusion
        Counts and loss over the test set.
    logits : ndarray, (n, C)
        The model's output.
    truth : ndarray of int64, (n,)
        True classes.
    groups : ClassGroups
        Many, medium and few, and with them the training counts.

    Returns
    -------
    dict
        The class view; ``many``, ``medium``, ``few``: mean recalls, with ``groups``, the rule behind them;
        ``nll`` in nats (the loss in double precision), ``brier`` in [0, 2], ``ece``; ``auroc`` and ``auprc``,
        means over the classes of ``per_class_auroc`` and ``per_class_auprc``; ``natural`` and ``balanced``,
        None where the test set itself has these shares.
    """
    report = classification_report(confusion)
    numbers = {
        **report,
        **groups.recall(report["per_class_recall"]),
        "groups": groups.describe(),
        **_scored(score_sums(logits, truth) if len(truth) else None, per_class=len(confusion.counts)),
    }
    numbers["natural"] = reweighted(confusion, logits, truth, np.asarray(groups.counts, np.float64))
    numbers["balanced"] = reweighted(confusion, logits, truth, np.ones(len(confusion.counts)))
    return numbers


def reweighted(
    confusion: Confusion, logits: NDArray[np.floating], truth: NDArray[np.int64], prior: NDArray[np.float64]
) -> dict[str, Any] | None:
    """Return the numbers that a test set with other class shares would give.

    Parameters
    ----------
    confusion, logits, truth
        As in :func:`global_numbers`.
    prior : ndarray, (C,)
        Wanted shares up to a factor, >= 0; a class without a test sample cannot be weighed and is left out.

    Returns
    -------
    dict or None
        ``prior`` (the shares, summing to 1), ``accuracy``, ``macro_f1``, ``per_class_precision``, ``nll``,
        ``brier``, ``ece``, ``auroc``, ``auprc``; None where the set has these shares already, or no class of them.
    """
    support = confusion.counts.sum(axis=1)
    wanted = np.where(support > 0, prior, 0.0)
    if wanted.sum() <= 0:
        return None
    wanted = wanted / wanted.sum()
    share = support / support.sum()
    if 0.5 * np.abs(wanted - share).sum() <= ALIKE:
        return None
    weights = np.divide(wanted, share, out=np.zeros(len(share)), where=share > 0)
    matrix = confusion.counts * weights[:, None]
    return {
        "prior": wanted.tolist(),
        "accuracy": float(np.trace(matrix) / matrix.sum()),
        "macro_f1": macro_f1(matrix),
        "per_class_precision": precisions(matrix),
        **_scored(score_sums(logits, truth, weights)),
    }


def _scored(sums: ScoreSums | None, per_class: int | None = None) -> dict[str, Any]:
    """Return what depends on probabilities; ``per_class``: with the numbers of so many classes."""
    ranked = {"auroc": auroc, "auprc": auprc}
    known = sums is not None and sums.defined
    values: dict[str, Any] = {
        "nll": finite(sums.nll / sums.mass) if sums is not None and known else None,
        "brier": finite(sums.brier / sums.mass) if sums is not None and known else None,
        "ece": None if sums is None else ece(sums),
    }
    for name, measure in ranked.items():
        each: list[float | None] = [None] * (per_class or 0) if sums is None else measure(sums)
        values[name] = mean_of_known(each)
        if per_class is not None:
            values[f"per_class_{name}"] = each
    return values
