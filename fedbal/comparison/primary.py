"""The one outcome that verdicts are about: its place, its words, and which way is better."""

from __future__ import annotations

import re

from fedbal.comparison.records import Outcome
from fedbal.errors import UsageError
from fedbal.measures.names import TaskName

PARTS = ("test", "fairness", "personal", "unseen", "train")
LOWER = ("loss", "nll", "brier", "ece", "std", "range", "never_predicted")
COUNTS = ("loss", "nll", "brier", "never_predicted")
"""Not shares: shown as they are."""
KNOWN = {
    "test": (
        *("accuracy", "balanced_accuracy", "macro_f1", "worst_class_recall", "g_mean", "never_predicted"),
        *("loss", "nll", "brier", "ece", "auroc", "auprc", "many", "medium", "few", "dice", "iou"),
    ),
    "fairness": (
        *("mean", "weighted_mean", "mean_balanced_accuracy", "std", "worst_10_percent", "best_10_percent"),
        *("range", "pooled_accuracy", "pooled_balanced_accuracy", "pooled_macro_f1", "pooled_loss"),
        *("pooled_dice", "pooled_iou"),
    ),
    "train": ("loss",),
}
KNOWN["personal"] = KNOWN["unseen"] = KNOWN["fairness"]
NESTED = ("natural", "balanced", "posthoc")
WORDS = {"nll": "NLL", "ece": "ECE", "auroc": "AUROC", "auprc": "AUPRC", "macro_f1": "macro F1", "iou": "IoU"}


def outcome(place: str | None, task: TaskName) -> Outcome:
    """Return the primary outcome of a comparison.

    Parameters
    ----------
    place : str, optional
        Dotted place in a row of ``rounds.jsonl``; None: balanced accuracy, of masks Dice. A name without a part is
        one of ``test``.
    task : {"classification", "segmentation"}
        Task of the data.

    Raises
    ------
    UsageError
        No row has such a place.
    """
    default = "test.dice" if task == "segmentation" else "test.balanced_accuracy"
    place = place or default
    if "." not in place:
        place = f"test.{place}"
    part, *middle, name = place.split(".")
    views = part == "test" and all(one in NESTED for one in middle)
    if part not in PARTS or name not in KNOWN[part] or (middle and not views):
        known = ", ".join([f"test.{one}" for one in KNOWN["test"]])
        raise UsageError(
            f"primary: {place} is no place in a row of rounds.jsonl; the default is {default}. Choose {known}, or "
            f"fairness., personal. or unseen. with {', '.join(KNOWN['fairness'])}."
        )
    plain = name.removeprefix("pooled_")
    words = WORDS.get(name) or re.sub("_", " ", name).replace("10 percent", "10 %")
    view = "".join(f", {one}" for one in middle)
    who = {"fairness": " of clients", "personal": " of personal models", "unseen": " of unseen clients"}
    label = f"{words}{who.get(part, '')}{' in training' if part == 'train' else ''}{view}"
    return Outcome(place, label, higher=plain not in LOWER, percent=plain not in COUNTS)


def of_personal_models(primary: Outcome) -> str:
    """Return where the same is said of clients' own models, over the test rows of all clients together.

    A place that no row has, if it is not: such a rule then has no value.
    """
    part, _, name = primary.name.partition(".")
    if part in ("personal", "train"):
        return primary.name
    if part in ("fairness", "unseen"):
        return f"personal.{name}"
    return f"personal.pooled_{name}"
