"""Soft Dice loss: hand-worked, differentiable where masks are empty, cross-entropy beside it."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from clients.base import Batch
from clients.dice import Dice
from clients.losses import CrossEntropy, Focal


def batch(y, weight=None):
    return Batch(torch.zeros(len(y), 1, *y.shape[1:]), y, weight)


def random(n=3, classes=3, side=4):
    draw = torch.Generator().manual_seed(0)
    return torch.randn(n, classes, side, side, generator=draw), torch.randint(
        classes, (n, side, side), generator=draw
    )


def test_hand_worked():
    # Both classes equally likely at each of 4 pixels: sum p = 2, and sum p t = 0.5 a foreground pixel.
    logits = torch.zeros(3, 2, 2, 2)
    y = torch.tensor([[[1, 1], [1, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    expected = [1 - (2 * 1.5 + 1) / (2 + 3 + 1), 1 - 1 / (2 + 1), 1 - (2 * 2 + 1) / (2 + 4 + 1)]
    torch.testing.assert_close(Dice().rows(logits, batch(y)), torch.tensor(expected))
    torch.testing.assert_close(Dice()(logits, batch(y)), torch.tensor(sum(expected) / 3))
    both = Dice(ce_weight=0.5)(logits, batch(y))
    torch.testing.assert_close(both, torch.tensor(sum(expected) / 3 + 0.5 * math.log(2)))
    smoother = Dice(smooth=3.0).rows(logits, batch(y))
    torch.testing.assert_close(smoother[1], torch.tensor(1 - 3 / (2 + 3)))


def test_a_perfect_prediction_loses_nothing_and_an_empty_mask_has_a_gradient():
    y = torch.tensor([[[0, 1], [2, 2]]])
    sure = 100.0 * F.one_hot(y, 3).movedim(-1, 1).to(torch.float32)
    assert float(Dice()(sure, batch(y))) == pytest.approx(0.0, abs=1e-6)
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    Dice()(logits, batch(torch.zeros(1, 2, 2, dtype=torch.int64))).backward()
    assert bool((logits.grad[:, 1] > 0).all())


def test_several_classes_are_averaged():
    logits, y = random()
    shares = logits.softmax(1)
    each = []
    for label in (1, 2):
        truth = (y == label).float()
        both, mass = (shares[:, label] * truth).sum((1, 2)), (shares[:, label] + truth).sum((1, 2))
        each.append(1 - (2 * both + 1) / (mass + 1))
    torch.testing.assert_close(Dice().rows(logits, batch(y)), torch.stack(each).mean(0))


@pytest.mark.parametrize(
    "loss",
    [CrossEntropy(), Focal(), Dice(), Dice(ce_weight=1.0)],
    ids=["cross_entropy", "focal", "dice", "dice+ce"],
)
def test_an_image_of_weight_zero_counts_for_nothing(loss):
    logits, y = random()
    padded = loss(logits, batch(y, torch.tensor([1.0, 1.0, 0.0])))
    torch.testing.assert_close(padded, loss(logits[:2], batch(y[:2])))


def test_labels_are_refused_and_parameters_checked():
    with pytest.raises(ValueError, match=r"needs logits \(b, C, h, w\) .* got \(2, 3\) and \(2,\)"):
        Dice()(torch.zeros(2, 3), Batch(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64)))
    with pytest.raises(ValueError, match="smooth > 0"):
        Dice(smooth=0.0)
    with pytest.raises(ValueError, match="ce_weight >= 0"):
        Dice(ce_weight=-1.0)
