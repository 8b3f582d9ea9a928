"""Which scores a terminal shows of a test: those that its task has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Columns = tuple[tuple[str, str], ...]
"""Word and key of each column."""

SCORES: Columns = (
    ("accuracy", "accuracy"),
    ("balanced accuracy", "balanced_accuracy"),
    ("macro-F1", "macro_f1"),
    ("worst class", "worst_class_recall"),
)
MASKS: Columns = (("Dice", "dice"), ("IoU", "iou"))
SHORT: Columns = (("accuracy", "accuracy"), ("balanced", "balanced_accuracy"))


def columns_of(test: Mapping[str, Any] | None, plain: Columns = SCORES) -> Columns:
    """Return the columns for a test object of a round; ``plain`` for classes and for a run without a test."""
    masks = tuple((word, key) for word, key in MASKS if test and key in test)
    return masks or plain
