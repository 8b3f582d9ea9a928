"""Soft Dice loss for masks, alone or beside cross-entropy.

Milletari, Navab, Ahmadi, "V-Net: fully convolutional neural networks for volumetric medical image segmentation",
3DV 2016, with plain instead of squared sums in the denominator. For image i and foreground class c, p the softmax
share of c at a pixel and t whether the pixel is of c,

    loss_i = mean over c of 1 - (2 sum p t + smooth) / (sum p + sum t + smooth),

plus ``ce_weight`` times the image's mean cross-entropy. With an empty mask it pushes every p to 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from clients.base import Batch
from clients.losses import Loss


class Dice(Loss):
    """Soft Dice over the foreground classes of every image.

    Parameters
    ----------
    smooth : float (default: 1.0)
        Pixels added to numerator and denominator, > 0: keeps empty masks defined.
    ce_weight : float (default: 0.0)
        Weight of the cross-entropy beside it, >= 0.
    """

    def __init__(self, smooth: float = 1.0, ce_weight: float = 0.0) -> None:
        if smooth <= 0.0 or ce_weight < 0.0:
            raise ValueError(f"need smooth > 0 and ce_weight >= 0, got {smooth} and {ce_weight}")
        self.smooth = smooth
        self.ce_weight = ce_weight

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the mean over real images."""
        if logits.ndim != 4 or batch.y.ndim != 3:
            raise ValueError(
                f"the loss dice needs logits (b, C, h, w) and masks (b, h, w), got {tuple(logits.shape)} and "
                f"{tuple(batch.y.shape)}"
            )
        return super().__call__(logits, batch)

    def rows(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the loss of every image, shape (b,)."""
        shares = logits.softmax(1)[:, 1:]
        classes = torch.arange(1, logits.shape[1], device=logits.device)
        truth = (batch.y[:, None] == classes[:, None, None]).to(shares.dtype)
        both = (shares * truth).sum((2, 3))
        mass = shares.sum((2, 3)) + truth.sum((2, 3))
        loss = (1.0 - (2.0 * both + self.smooth) / (mass + self.smooth)).mean(1)
        if self.ce_weight:
            loss = loss + self.ce_weight * F.cross_entropy(logits, batch.y, reduction="none").mean((1, 2))
        return loss
