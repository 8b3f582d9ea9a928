"""Names of the tasks and of their scores; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

TaskName = Literal["classification", "segmentation"]

EVERY_TASK: tuple[TaskName, ...] = ("classification", "segmentation")
CLASSIFICATION: tuple[TaskName, ...] = ("classification",)
SEGMENTATION: tuple[TaskName, ...] = ("segmentation",)

SCORES: dict[TaskName, tuple[str, ...]] = {
    "classification": ("accuracy", "balanced_accuracy"),
    "segmentation": ("dice", "iou"),
}
"""Scores in [0, 1] of a model, by task; the first is what ``auto`` means."""


def tasks_of_score(name: str) -> tuple[TaskName, ...]:
    """Return the tasks that a score exists for; every task for ``auto``."""
    return tuple(task for task in EVERY_TASK if name == "auto" or name in SCORES[task])


def score_name(name: str, task: TaskName) -> str:
    """Return the score that a name means on a task.

    Raises
    ------
    ValueError
        The task has no such score.
    """
    if name == "auto":
        return SCORES[task][0]
    if name not in SCORES[task]:
        raise ValueError(f"the score {name!r} does not exist for {task}; choose {' or '.join(SCORES[task])}")
    return name
