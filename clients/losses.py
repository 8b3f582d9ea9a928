"""Losses on logits that a scenario may choose: cross-entropy, focal, class-balanced.

All are means over the N rows of a batch (an image's pixels count as their mean); a row of weight 0 (padding)
counts for nothing. Class weights do not change the denominator: dividing by the sum of weights would cancel them in
a batch of one class, which is the normal case at a skewed client.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from clients.base import Batch, Criterion, LocalRound
from fedbal.protocol import CLASS_COUNTS, LABEL_COUNTS, Disclosure

Prior = Literal["local", "global"]

COUNTS_DISCLOSURE = Disclosure(
    name=LABEL_COUNTS,
    size="8 bytes a class",
    frequency="once, before round 1",
    privacy="reveals how many training samples of each class the client has; their sum goes to every client",
)


def class_prior(criterion: Criterion, local: LocalRound) -> Tensor | None:
    """Return what a criterion needs of the client's class counts; None: nothing."""
    # Most losses need nothing; counting labels anew for every client and round would be for nothing too.
    if not reads_counts(criterion):
        return None
    make = criterion.prior  # type: ignore[attr-defined]
    if getattr(criterion, "prior_of", "local") == "global":
        counts = torch.tensor(global_counts(local), dtype=torch.int64)
    else:
        counts = torch.from_numpy(local.data.train.label_counts(local.num_classes))
    prior: Tensor | None = make(counts)
    return None if prior is None else prior.to(local.data.train.pool.device)


def reads_counts(criterion: Criterion) -> bool:
    """Tell whether a criterion makes something of class counts."""
    make = getattr(criterion, "prior", None)
    return make is not None and getattr(make, "__func__", None) is not Loss.prior


def global_counts(local: LocalRound) -> list[int]:
    """Return the class counts over all clients that came with the model."""
    sent = local.config.get(CLASS_COUNTS)
    if not isinstance(sent, list) or len(sent) != local.num_classes:
        raise ValueError(
            f"the loss has prior: global, and the server sent no counts of {local.num_classes} classes but {sent!r}"
        )
    return [int(count) for count in sent]


class Loss:
    """A loss; what it needs of class counts is made once a round by :meth:`prior`.

    Attributes
    ----------
    prior_of : {"local", "global"}
        Whose class counts: the client's own, or the sum over all clients, which the server asks for before round 1.
    """

    prior_of: Prior = "local"

    @property
    def discloses(self) -> tuple[Disclosure, ...]:
        """What leaves a site because of this loss."""
        return (COUNTS_DISCLOSURE,) if self.prior_of == "global" else ()

    def prior(self, counts: Tensor) -> Tensor | None:
        """Turn class counts (C,) into what :meth:`rows` needs of them; None: nothing."""
        return None

    def rows(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the loss of every row, shape (b,), or of every pixel, (b, height, width)."""
        raise NotImplementedError

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the mean over real rows."""
        rows = self.rows(logits, batch)
        if batch.weight is None:
            return rows.mean()
        if rows.ndim > 1:
            rows = rows.flatten(1).mean(1)
        return (rows * batch.weight).sum() / batch.weight.sum().clamp_min(1.0)


class CrossEntropy(Loss):
    """Softmax cross-entropy ``-log p_y``."""

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the mean over real rows, without padding torch's own."""
        return F.cross_entropy(logits, batch.y) if batch.weight is None else super().__call__(logits, batch)

    def rows(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return ``-log p_y``."""
        return F.cross_entropy(logits, batch.y, reduction="none")


class Focal(Loss):
    """``-(1 - p_y)^gamma log p_y``.

    Lin, Goyal, Girshick, He, Dollar, "Focal Loss for Dense Object Detection", ICCV 2017, equation (4).

    Parameters
    ----------
    gamma : float (default: 2.0)
        Focusing, >= 0; 0 is cross-entropy.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        if gamma < 0.0:
            raise ValueError(f"gamma must be >= 0, got {gamma}")
        self.gamma = gamma

    def rows(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the focused cross-entropy."""
        entropy = F.cross_entropy(logits, batch.y, reduction="none")
        # 1 - p from the log-probability, clamped so that its power has a finite gradient at p = 1.
        return (-torch.expm1(-entropy)).clamp_min(1e-12) ** self.gamma * entropy


class ClassBalanced(Loss):
    """Cross-entropy weighted by the inverse effective number of samples of the class.

    Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019:
    ``w_c`` proportional to ``(1 - beta) / (1 - beta^n_c)``, scaled so that the weights of the classes present sum
    to their number; a class that a client does not have gets weight 0.

    Parameters
    ----------
    beta : float (default: 0.9999)
        In [0, 1); 0 weighs all classes alike, towards 1 the weights tend to ``1 / n_c``.
    prior : {"local", "global"}
        Whose class counts.
    """

    def __init__(self, beta: float = 0.9999, prior: Prior = "local") -> None:
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"beta must be in [0, 1), got {beta}")
        self.beta = beta
        self.prior_of = prior

    def prior(self, counts: Tensor) -> Tensor:
        """Return the weight of every class, shape (C,)."""
        present = counts > 0
        effective = -torch.expm1(
            counts.to(torch.float64) * torch.log(torch.tensor(self.beta, dtype=torch.float64))
        )
        raw = torch.where(present, (1.0 - self.beta) / torch.where(present, effective, 1.0), 0.0)
        return (raw * present.sum() / raw.sum()).to(torch.float32)

    def rows(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the weighted cross-entropy."""
        assert batch.prior is not None
        return batch.prior[batch.y] * F.cross_entropy(logits, batch.y, reduction="none")
