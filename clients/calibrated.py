"""Losses that shift or scale logits by the class counts: balanced softmax, logit adjustment, FedLC, FedRS.

A class that a client has no sample of would get ``log 0``; it is masked out of the denominator (``absent: mask``)
or counted as one sample (``absent: floor1``).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from clients.base import Batch
from clients.losses import Loss, Prior

Absent = Literal["mask", "floor1"]
MASKED = -1e9
"""Added to a masked logit: its probability is exactly 0 and no gradient is NaN, which ``-inf`` would risk."""


class Shifted(Loss):
    """Cross-entropy of ``z + prior``."""

    def rows(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of the shifted logits."""
        assert batch.prior is not None
        return F.cross_entropy(logits + batch.prior, batch.y, reduction="none")


class LogitAdjustment(Shifted):
    """``CE(z + tau log pi, y)`` with pi the class frequencies.

    Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-Tail Learning via Logit Adjustment", ICLR 2021, eq. (10).

    Parameters
    ----------
    tau : float (default: 1.0)
        Strength, >= 0; 0 is cross-entropy, over the classes present where absent ones are masked.
    absent : {"mask", "floor1"}
        What to do with a class without samples.
    prior : {"local", "global"}
        Whose class counts.
    """

    def __init__(self, tau: float = 1.0, absent: Absent = "mask", prior: Prior = "local") -> None:
        if tau < 0.0:
            raise ValueError(f"tau must be >= 0, got {tau}")
        self.tau = tau
        self.absent = absent
        self.prior_of = prior

    def prior(self, counts: Tensor) -> Tensor:
        """Return the shift of every logit, shape (C,)."""
        known = counts.clamp_min(1).to(torch.float64)
        total = known.sum() if self.absent == "floor1" else counts.sum()
        shift = self.tau * torch.log(known / total)
        if self.absent == "mask":
            shift = torch.where(counts > 0, shift, MASKED)
        return shift.to(torch.float32)


class BalancedSoftmax(LogitAdjustment):
    """``CE(z + log n, y)``: logit adjustment with tau 1, whose constant ``log sum n`` cancels.

    Ren, Yu, Sheng, Ma, Zhao, Yi, Li, "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020.

    Parameters
    ----------
    absent : {"mask", "floor1"}
        What to do with a class without samples.
    prior : {"local", "global"}
        Whose class counts.
    """

    def __init__(self, absent: Absent = "mask", prior: Prior = "local") -> None:
        super().__init__(1.0, absent, prior)


class FedLC(Shifted):
    """``CE(z - tau n^(-1/4), y)`` with a client's own counts: rare classes get a larger margin.

    Zhang, Li, Li, Xu, Wu, Ding, Wu, "Federated Learning with Label Distribution Skew via Logits Calibration", ICML
    2022, equation (7); absent classes leave the denominator.

    Parameters
    ----------
    tau : float (default: 1.0)
        Strength, >= 0; 0 is cross-entropy over the classes present.
    """

    def __init__(self, tau: float = 1.0) -> None:
        if tau < 0.0:
            raise ValueError(f"tau must be >= 0, got {tau}")
        self.tau = tau

    def prior(self, counts: Tensor) -> Tensor:
        """Return the shift of every logit, shape (C,)."""
        shift = -self.tau * counts.clamp_min(1).to(torch.float64) ** -0.25
        return torch.where(counts > 0, shift, MASKED).to(torch.float32)


class FedRS(Loss):
    """Restricted softmax: logits of classes that a client lacks are scaled by alpha.

    Li, Zhan, "FedRS: Federated Learning with Restricted Softmax for Label Distribution Non-IID Data", KDD 2021:
    ``CE(a z, y)`` with ``a_c = 1`` for classes present and ``alpha`` for absent ones.

    Parameters
    ----------
    alpha : float (default: 0.5)
        In [0, 1]; 1 is cross-entropy.
    """

    def __init__(self, alpha: float = 0.5) -> None:
        if not 0.0 <= alpha <= 1.0:
            raise ValueError(f"alpha must be in [0, 1], got {alpha}")
        self.alpha = alpha

    def prior(self, counts: Tensor) -> Tensor:
        """Return the factor of every logit, shape (C,)."""
        return torch.where(counts > 0, 1.0, self.alpha).to(torch.float32)

    def rows(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of the scaled logits."""
        assert batch.prior is not None
        return F.cross_entropy(logits * batch.prior, batch.y, reduction="none")
