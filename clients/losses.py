"""Losses on logits that a scenario may choose."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from clients.base import Batch


class CrossEntropy:
    """Softmax cross-entropy ``-log p_y``, mean over the batch."""

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the mean over real rows (weight 1); rows of weight 0 count for nothing."""
        if batch.weight is None:
            return F.cross_entropy(logits, batch.y)
        rows = F.cross_entropy(logits, batch.y, reduction="none")
        return (rows * batch.weight).sum() / batch.weight.sum().clamp_min(1.0)
