"""Segmentation: Dice and IoU of every image and foreground class, and mean cross-entropy of pixels.

For image i and foreground class c (every class but 0, the background), P the pixels called c and T those that are,

    Dice_ic = 2 |P & T| / (|P| + |T|),    IoU_ic = |P & T| / |P | T|;

both are 1 where P and T are empty (nothing there, and nothing found) and 0 where only one of them is. An image's
score is the mean over the foreground classes, a set's the mean over its images: a small object counts as much as a
large one, and sums over images add up. Pixels are called by the largest logit, nothing is smoothed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from flwr.app import ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from fedbal import protocol
from fedbal.fairness import between, too_small
from fedbal.groups import ClassGroups
from fedbal.measures.base import Evaluated, Measures
from fedbal.measures.names import TaskName, score_name
from fedbal.metrics import finite
from fedbal.protocol import Disclosure

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class OverlapSums:
    """What a model did on some images; two of them add up to the statistics of both sets.

    Attributes
    ----------
    n : int
        Images.
    dice, iou : ndarray, (C - 1,)
        Sums over the images, one number for each foreground class.
    squares : float
        Sum of the squares of the images' Dice.
    loss_sum : float
        Sum over images of their mean cross-entropy.
    """

    n: int
    dice: Floats
    iou: Floats
    squares: float = 0.0
    loss_sum: float = 0.0

    def __add__(self, other: OverlapSums) -> OverlapSums:
        if self.dice.shape != other.dice.shape:
            raise ValueError(
                f"cannot add statistics of {len(self.dice)} and {len(other.dice)} foreground classes; "
                "both must declare the same label set."
            )
        return OverlapSums(
            self.n + other.n,
            self.dice + other.dice,
            self.iou + other.iou,
            self.squares + other.squares,
            self.loss_sum + other.loss_sum,
        )


class ClientOverlap(NamedTuple):
    """One client's result on images that it only ever reports on."""

    n: int
    """Test images."""
    dice: float
    """Mean Dice over them."""
    iou: float
    """Mean IoU over them."""
    squares: float
    """Mean square of the images' Dice."""
    loss: float
    """Mean cross-entropy of a pixel, in nats."""

    @property
    def value(self) -> float | None:
        """Mean Dice, None without images."""
        return self.dice if self.n else None


class OverlapSpread(TypedDict):
    """The client view of segmentation: how Dice, in [0, 1], differs between clients."""

    clients: int
    samples: int
    mean: float | None
    weighted_mean: float | None
    std: float | None
    worst_10_percent: float | None
    best_10_percent: float | None
    tenth: int
    range: float | None
    pooled_clients: int
    pooled_n: int
    pooled_dice: float | None
    pooled_iou: float | None
    pooled_loss: float | None
    note: str | None


class Segmentation(Measures[OverlapSums]):
    """Measures of a segmenter: logits (b, C, h, w), masks (b, h, w) of integers, 0 the background."""

    task: ClassVar[TaskName] = "segmentation"
    headline: ClassVar[str] = "dice"
    client_metric: ClassVar[str] = "dice"
    discloses: ClassVar[tuple[Disclosure, ...]] = (
        Disclosure(
            name=protocol.OVERLAP,
            size="16 bytes a foreground class and 8 more",
            frequency="every evaluation",
            privacy="reveals how well the client's masks are met on average, and how that varies over its images",
        ),
        Disclosure(
            name=protocol.PERSONAL + protocol.OVERLAP,
            size="as the overlap, and one loss",
            frequency="every evaluation, if the client's update keeps a personal model",
            privacy="the same about the client's own model, which itself stays with the client",
        ),
    )

    def __init__(self, num_classes: int) -> None:
        if num_classes < 2:
            raise ValueError(
                f"segmentation needs the background and at least one more class, got {num_classes}"
            )
        super().__init__(num_classes)

    def empty(self) -> OverlapSums:
        """Return the statistics of no image."""
        return OverlapSums(0, np.zeros(self.num_classes - 1), np.zeros(self.num_classes - 1))

    def score(self, logits: Tensor, y: Tensor) -> OverlapSums:
        """Measure the overlap in every image and add up cross-entropies."""
        loss = F.cross_entropy(logits, y, reduction="none").to(torch.float64).mean((1, 2)).sum()
        dice, iou = overlap(logits.argmax(1).cpu().numpy(), y.cpu().numpy(), self.num_classes)
        squares = float(np.square(dice.mean(axis=1)).sum())
        return OverlapSums(len(y), dice.sum(axis=0), iou.sum(axis=0), squares, float(loss))

    def report(self, sums: OverlapSums) -> dict[str, Any]:
        """Return mean Dice and IoU, over all foreground classes and for each, and the loss; None without images."""
        n = sums.n
        known = bool(n)
        return {
            "samples": n,
            "dice": float(sums.dice.mean() / n) if known else None,
            "iou": float(sums.iou.mean() / n) if known else None,
            "per_class_dice": [float(value / n) if known else None for value in sums.dice],
            "per_class_iou": [float(value / n) if known else None for value in sums.iou],
            "loss": finite(sums.loss_sum / n) if known else None,
        }

    def value(self, sums: OverlapSums, metric: str) -> float:
        """Return mean Dice or mean IoU."""
        name = score_name(metric, self.task)
        if not sums.n:
            raise ValueError(f"{name} of no image")
        return float((sums.dice if name == "dice" else sums.iou).mean() / sums.n)

    def test(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        groups: ClassGroups | None = None,
        posthoc: float | None = None,
    ) -> dict[str, Any]:
        """Return the report of a global test set."""
        total = self.empty()
        for logits, y in batches:
            total = total + self.score(logits, y)
        return self.report(total)

    def reply(self, received: OverlapSums, personal: OverlapSums | None = None) -> RecordDict:
        """Return mean Dice and loss as metrics, which stock strategies average, and the sums as extras."""
        n = max(received.n, 1)
        metrics = MetricRecord({protocol.NUM_EXAMPLES: received.n, protocol.LOSS: received.loss_sum / n})
        metrics[protocol.DICE] = float(received.dice.mean() / n)
        extras = ConfigRecord({protocol.OVERLAP: _listed(received)})
        if personal is not None:
            extras[protocol.PERSONAL + protocol.OVERLAP] = _listed(personal)
            extras[protocol.PERSONAL + protocol.LOSS] = personal.loss_sum / n
        return RecordDict({protocol.METRICS: metrics, protocol.EXTRAS: extras})

    def read(self, content: RecordDict) -> Evaluated | None:
        """Decode a reply; None for one that contradicts itself."""
        metrics = protocol.metrics_of(content)
        extras = content.config_records.get(protocol.EXTRAS, ConfigRecord())
        samples = metrics.get(protocol.NUM_EXAMPLES)
        if not isinstance(samples, int) or samples < 0:
            return None
        received = self._client(samples, extras.get(protocol.OVERLAP), metrics.get(protocol.LOSS))
        if received is None:
            return None
        own = extras.get(protocol.PERSONAL + protocol.OVERLAP)
        personal = self._client(samples, own, extras.get(protocol.PERSONAL + protocol.LOSS))
        return Evaluated(received, personal) if own is None or personal is not None else None

    def spread(self, rows: Sequence[Any], min_samples: int) -> Mapping[str, Any]:
        """Return the spread of Dice."""
        return overlap_spread(rows, min_samples)

    def _client(self, n: int, values: object, loss: object) -> ClientOverlap | None:
        classes = self.num_classes - 1
        if not isinstance(values, list) or len(values) != 1 + 2 * classes:
            return None
        sums = np.asarray(values, np.float64)
        # Sums of n fractions; rounding may lift them a little above n.
        if not ((sums >= 0.0) & (sums <= n * (1.0 + 1e-9))).all():
            return None
        count = max(n, 1)
        dice, iou = sums[1 : 1 + classes].mean() / count, sums[1 + classes :].mean() / count
        measured = float(loss) if isinstance(loss, int | float) else float("nan")
        return ClientOverlap(n, float(dice), float(iou), float(sums[0] / count), measured)


def overlap(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], num_classes: int
) -> tuple[Floats, Floats]:
    """Return Dice and IoU of every image and foreground class.

    Parameters
    ----------
    predicted, truth : ndarray of int, (n, h, w)
        Classes in 0 .. num_classes - 1, 0 the background.
    num_classes : int
        Declared classes C.

    Returns
    -------
    tuple of ndarray
        Dice and IoU, both (n, C - 1), in [0, 1]; 1 where neither mask has a pixel of the class.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"masks must have one shape, got {predicted.shape} and {truth.shape}")
    dice, iou = (np.ones((len(truth), num_classes - 1)) for _ in range(2))
    for label in range(1, num_classes):
        called, real = predicted == label, truth == label
        both = (called & real).sum(axis=(1, 2))
        mass = called.sum(axis=(1, 2)) + real.sum(axis=(1, 2))
        some = mass > 0
        dice[some, label - 1] = 2.0 * both[some] / mass[some]
        iou[some, label - 1] = both[some] / (mass - both)[some]
    return dice, iou


def overlap_spread(rows: Iterable[ClientOverlap], min_samples: int = 30) -> OverlapSpread:
    """Turn per-client results into the client view of segmentation.

    Parameters
    ----------
    rows : iterable of ClientOverlap
        One row a client.
    min_samples : int
        Test images from which on a client counts, >= 1 (default: 30).

    Returns
    -------
    OverlapSpread
        As :func:`fedbal.fairness.client_spread` with Dice in place of accuracy; what ``std`` takes off is the
        mean variance ``(mean of squares - dice^2) / (n - 1)`` of a client's mean Dice over its images.
        ``pooled_*``: over the images of all clients together, small ones included.
    """
    everyone = [row for row in rows if row.n > 0]
    counted = [row for row in everyone if row.n >= min_samples]
    sizes = np.array([row.n for row in everyone], np.float64)
    total = int(sizes.sum())

    def pooled(values: list[float]) -> float | None:
        return finite(float(np.array(values) @ sizes / total)) if total else None

    n = np.array([row.n for row in counted], np.float64)
    dice = np.array([row.dice for row in counted], np.float64)
    squares = np.array([row.squares for row in counted], np.float64)
    chance = np.maximum(squares - np.square(dice), 0.0) / np.maximum(n - 1, 1)
    return OverlapSpread(
        clients=len(counted),
        samples=int(n.sum()),
        **between(dice, n, chance),
        tenth=math.ceil(len(counted) / 10),
        pooled_clients=len(everyone),
        pooled_n=total,
        pooled_dice=pooled([row.dice for row in everyone]),
        pooled_iou=pooled([row.iou for row in everyone]),
        pooled_loss=pooled([row.loss for row in everyone]),
        note=None if counted else too_small((row.n for row in everyone), min_samples),
    )


def _listed(sums: OverlapSums) -> list[float]:
    return [sums.squares, *sums.dice.tolist(), *sums.iou.tolist()]
