"""What a run that diverged counts as: the level of a model that knows nothing."""

from __future__ import annotations

import math

SHARES = (
    *("accuracy", "balanced_accuracy", "macro_f1", "worst_class_recall", "g_mean", "many", "medium", "few"),
    *("mean", "weighted_mean", "mean_balanced_accuracy", "worst_10_percent", "best_10_percent"),
)
"""Scores in [0, 1] of a classifier, of the whole test set, of some classes or of clients."""
OVERLAPS = ("dice", "iou", "mean", "weighted_mean", "worst_10_percent", "best_10_percent")


def chance_level(place: str, classes: int, *, masks: bool = False) -> float | None:
    """Return the value of a metric for a model that names every class with the same probability.

    So 1/C for accuracy, and not the share of the largest class: that is what always naming it gives, and on a long
    tail it would put a run that learned nothing above one that learned the rare classes.

    Parameters
    ----------
    place : str
        Dotted place in a row: ``test.accuracy``, ``fairness.worst_10_percent``.
    classes : int
        Classes C of the task, >= 1.
    masks : bool
        Whether the task is segmentation; a useless mask overlaps with nothing, 0.

    Returns
    -------
    float or None
        1/C for scores (an upper bound for macro F1, whose classes may be unequal), ln C for losses, 1 - 1/C for
        Brier's score, 1/2 for areas under the ROC curve; None for anything else, as calibration and spreads, where
        guessing can be perfect.
    """
    name = place.rpartition(".")[2].removeprefix("pooled_")
    if name in ("loss", "nll"):
        return math.log(classes)
    if masks:
        return 0.0 if name in OVERLAPS else None
    known = {**dict.fromkeys(SHARES, 1 / classes), "brier": 1 - 1 / classes, "auroc": 0.5}
    return known.get(name)
