"""The measurements of a run's latest evaluation, as ``fedbal show`` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedbal.terminal import number, say, table

TEST = (
    ("AUROC", "auroc"),
    ("AUPRC", "auprc"),
    ("NLL", "nll"),
    ("Brier", "brier"),
    ("ECE", "ece"),
    ("G-mean", "g_mean"),
    ("accuracy", "accuracy"),
    ("macro-F1", "macro_f1"),
)
VIEWS = (("test set", None), ("natural prior", "natural"), ("equal classes", "balanced"))
SPREAD = (
    ("mean", "mean"),
    ("mean, by samples", "weighted_mean"),
    ("standard deviation", "std"),
    ("worst 10 %", "worst_10_percent"),
    ("best 10 %", "best_10_percent"),
    ("range", "range"),
    ("clients", "clients"),
    ("pooled", "pooled_accuracy"),
    ("pooled, balanced", "pooled_balanced_accuracy"),
    ("pooled", "pooled_dice"),
    ("pooled IoU", "pooled_iou"),
    ("pooled samples", "pooled_n"),
)
CLIENTS = (("global model", "fairness"), ("personal models", "personal"), ("unseen clients", "unseen"))


def print_measures(row: Mapping[str, Any]) -> None:
    """Print what a round's evaluation says beyond accuracy: the test set's views, and the clients'."""
    _print_test(row)
    _print_clients(row)


def _print_test(row: Mapping[str, Any]) -> None:
    test = row.get("test") or {}
    views = [(title, test if key is None else test.get(key)) for title, key in VIEWS]
    present = [(title, view) for title, view in views if view]
    measures = [(word, key) for word, key in TEST if key in test]
    if not measures or "groups" not in test:
        return
    say()
    cells = [[word, *(number(view.get(key)) for _, view in present)] for word, key in measures]
    table(["test", *(title for title, _ in present)], cells, title=f"after round {row['round']}")
    groups = test["groups"]
    unit = "training samples" if groups["rule"] == "counts" else "% of the training samples, cumulated"
    found = ", ".join(
        f"{name} {number(test[name])} ({len(groups[name])})" for name in ("many", "medium", "few")
    )
    low, high = groups["bounds"]
    say(f"recall (classes): {found}; by {low:g} and {high:g} {unit}")


def _print_clients(row: Mapping[str, Any]) -> None:
    """Print the latest model's accuracy on the clients that train, their own models', and on unseen clients."""
    columns = [(title, row.get(key)) for title, key in CLIENTS]
    shown = [(title, column.get("final") or column) for title, column in columns if column]
    if not shown:
        return
    say()
    known = [(word, key) for word, key in SPREAD if any(column.get(key) is not None for _, column in shown)]
    cells = [[word, *(number(column.get(key)) for _, column in shown)] for word, key in known]
    made = shown[0][1]["model_round"]
    score = "Dice" if any("pooled_dice" in column for _, column in shown) else "accuracy"
    table([score, *(title for title, _ in shown)], cells, title=f"clients, model of round {made}")
    for title, column in shown:
        if column.get("note"):
            say(f"{title}: {column['note']}")
