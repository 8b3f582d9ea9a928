"""Post-hoc logit adjustment: what a trained model predicts when its class prior is taken out.

Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-Tail Learning via Logit Adjustment", ICLR 2021, section 4.1:
``argmax_c z_c - tau log pi_c`` with pi the class shares of the global training data. A class without any training
sample has no prior to take out and is never predicted; the official code gives it log 1e-12 instead, which would
predict it for nearly every sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedbal.groups import ClassGroups
from fedbal.metrics import Confusion, classification_report


def adjusted(logits: ArrayLike, counts: ArrayLike, tau: float = 1.0) -> NDArray[np.float64]:
    """Return logits less ``tau log pi``.

    Parameters
    ----------
    logits : array_like, shape (n, C)
        Output of a model.
    counts : array_like, shape (C,)
        Global training samples of each class; not all 0.
    tau : float
        Strength, >= 0; 0 changes nothing.

    Returns
    -------
    ndarray, shape (n, C)
        Float64; ``-inf`` for classes without a training sample.
    """
    scores, samples = np.asarray(logits, np.float64), np.asarray(counts, np.float64)
    if tau == 0.0:
        return scores
    shares = samples / samples.sum()
    shift = np.where(shares > 0, tau * np.log(np.where(shares > 0, shares, 1.0)), np.inf)
    moved: NDArray[np.float64] = scores - shift
    return moved


def posthoc_numbers(
    logits: NDArray[np.floating], truth: NDArray[np.int64], groups: ClassGroups, tau: float
) -> dict[str, Any]:
    """Return the class view of the adjusted predictions, with ``tau``; it has no loss of its own.

    Parameters
    ----------
    logits : ndarray, shape (n, C)
        Output of a model on a test set.
    truth : ndarray of int64, shape (n,)
        True classes.
    groups : ClassGroups
        Many, medium and few, and with them the training counts.
    tau : float
        Strength, >= 0.
    """
    predicted = adjusted(logits, groups.counts, tau).argmax(axis=1)
    report = dict(classification_report(Confusion.of(truth, predicted, len(groups.counts))))
    del report["loss"]
    recall: Any = report["per_class_recall"]
    return {"tau": tau, **report, **groups.recall(recall)}
