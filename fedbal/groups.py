"""Many-, medium- and few-shot classes: which class belongs where, and the mean recall of each group.

Groups are made from the global training counts, never from the test set. Count thresholds are those of the
long-tail literature: many above 100 training samples, few below 20, medium between (bounds included). They say
nothing where the rarest class is still large (CIFAR-10 with imbalance factor 100 has no class below 50); there
the classes are cut by cumulative share: sorted from common to rare, a class is many while the classes before it
hold less than 75 % of the samples, medium while they hold less than 95 %, else few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedbal.metrics import mean_of_known

GROUPS = ("many", "medium", "few")


@dataclass(frozen=True)
class ClassGroups:
    """The classes of each group and the rule that made them.

    Attributes
    ----------
    rule : {"counts", "share"}
        By training samples, or by cumulative share.
    bounds : tuple of float
        The two thresholds in samples (few below the first, many above the second) or in percent.
    members : dict
        ``many``, ``medium``, ``few`` to class indices, ascending.
    counts : tuple of int
        Global training samples of each class.
    """

    rule: Literal["counts", "share"]
    bounds: tuple[float, float]
    members: dict[str, list[int]]
    counts: tuple[int, ...]

    def recall(self, per_class: Sequence[float | None]) -> dict[str, float | None]:
        """Return the mean recall of each group; None for a group without a class in the test set."""
        return {group: mean_of_known(per_class[label] for label in self.members[group]) for group in GROUPS}

    def describe(self) -> dict[str, object]:
        """Return what is stored beside the numbers: rule, bounds, classes and training samples of each group."""
        samples = {group: sum(self.counts[label] for label in self.members[group]) for group in GROUPS}
        return {"rule": self.rule, "bounds": list(self.bounds), **self.members, "samples": samples}


def class_groups(
    counts: ArrayLike,
    rule: Literal["auto", "counts", "share"] = "auto",
    thresholds: tuple[int, int] = (20, 100),
    shares: tuple[float, float] = (75.0, 95.0),
) -> ClassGroups:
    """Divide the classes into many, medium and few.

    Parameters
    ----------
    counts : array_like of int, (C,)
        Global training samples of each class, >= 0.
    rule : {"auto", "counts", "share"} (default: "auto")
        ``auto`` takes ``counts``, or ``share`` when no class is below the lower threshold.
    thresholds : tuple of int (default: (20, 100))
        Samples: few below the first, many above the second.
    shares : tuple of float (default: (75, 95))
        Percent of all samples.
    """
    sizes = np.asarray(counts, dtype=np.int64)
    small = bool((sizes < thresholds[0]).any())
    chosen = ("counts" if small else "share") if rule == "auto" else rule
    if chosen == "counts":
        level = np.where(sizes > thresholds[1], 0, np.where(sizes < thresholds[0], 2, 1))
    else:
        level = _by_share(sizes, shares)
    members = {group: np.flatnonzero(level == rank).tolist() for rank, group in enumerate(GROUPS)}
    bounds = thresholds if chosen == "counts" else shares
    return ClassGroups(chosen, (bounds[0], bounds[1]), members, tuple(sizes.tolist()))


def _by_share(sizes: NDArray[np.int64], shares: tuple[float, float]) -> NDArray[np.int64]:
    """Return 0, 1 or 2 a class by the percent that the more common classes hold; ties go by class index."""
    order = np.argsort(-sizes, kind="stable")
    before = (np.cumsum(sizes[order]) - sizes[order]) * 100.0 / max(int(sizes.sum()), 1)
    level = np.empty(len(sizes), np.int64)
    level[order] = (before >= shares[0]).astype(np.int64) + (before >= shares[1])
    return level
