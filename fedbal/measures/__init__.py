"""What is measured of a model, by task: additive sums on the clients, reports on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedbal.measures.names import TaskName

if TYPE_CHECKING:
    from fedbal.measures.base import Measures


def measures_for(task: TaskName, num_classes: int) -> Measures[Any]:
    """Return what is measured on a task.

    Parameters
    ----------
    task : {"classification", "segmentation"}
        The task.
    num_classes : int
        Declared classes, for segmentation the background included.
    """
    from fedbal.measures.classification import Classification
    from fedbal.measures.segmentation import Segmentation

    kinds: dict[TaskName, type[Measures[Any]]] = {
        "classification": Classification,
        "segmentation": Segmentation,
    }
    return kinds[task](num_classes)
