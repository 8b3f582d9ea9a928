"""Losses for imbalance against worked numbers and their invariants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clients.base import Batch
from clients.calibrated import BalancedSoftmax, FedLC, FedRS, LogitAdjustment
from clients.losses import ClassBalanced, CrossEntropy, Focal

Z = torch.tensor([[2, 0.5, -1], [0.2, -0.4, 1.1], [1, 1.5, 0], [-0.5, 0.3, 0.8]])
Y = torch.tensor([0, 0, 1, 2])
COUNTS = torch.tensor([100, 10, 1])
ALL = [CrossEntropy(), Focal(2.0), ClassBalanced(), BalancedSoftmax(), LogitAdjustment(1.5), FedLC(), FedRS()]


def batch_of(loss, counts=COUNTS, y=Y, weight=None):
    return Batch(torch.zeros(len(y), 1), y, weight, loss.prior(counts))


def value(loss, z=Z, counts=COUNTS, y=Y):
    return float(loss(z, batch_of(loss, counts, y)))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (CrossEntropy(), 0.716153),
        (Focal(1.0), 0.415699),
        (Focal(2.0), 0.263857),
        (ClassBalanced(0.9999), 0.478061),
        (ClassBalanced(0.9), 0.530401),
        (BalancedSoftmax(), 1.398266),
        (LogitAdjustment(1.0), 1.398266),
    ],
)
def test_worked_numbers(loss, expected):
    assert value(loss) == pytest.approx(expected, abs=1e-6)


def test_rows_of_the_worked_example():
    rows = BalancedSoftmax().rows(Z, batch_of(BalancedSoftmax()))
    np.testing.assert_allclose(rows, [0.022555, 0.076477, 1.958350, 3.535684], atol=1e-6)


@pytest.mark.parametrize(
    ("beta", "weights"), [(0.9999, [0.027159, 0.270369, 2.702472]), (0.9, [0.239329, 0.367442, 2.393229])]
)
def test_class_balanced_weights(beta, weights):
    np.testing.assert_allclose(ClassBalanced(beta).prior(COUNTS), weights, atol=1e-6)


def test_class_balanced_weights_of_a_long_tail():
    counts = torch.tensor([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
    expected = [0.0506, 0.0769, 0.1211, 0.1950, 0.3188, 0.5246, 0.8683, 1.4426, 2.4092, 3.9927]
    np.testing.assert_allclose(ClassBalanced(0.9999).prior(counts), expected, atol=1e-4)


def test_an_absent_class_leaves_the_denominator():
    loss = BalancedSoftmax()
    rows = loss.rows(Z[:3], batch_of(loss, torch.tensor([100, 10, 0]), Y[:3]))
    np.testing.assert_allclose(rows, [0.022068, 0.053428, 1.955196], atol=1e-6)
    floored = BalancedSoftmax("floor1")
    np.testing.assert_allclose(
        floored.rows(Z, batch_of(floored, torch.tensor([100, 10, 0]))),
        loss.rows(Z, batch_of(loss, torch.tensor([100, 10, 1]))),
        atol=1e-6,
    )
    assert ClassBalanced().prior(torch.tensor([5, 0, 5])).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    "loss", [Focal(0.0), ClassBalanced(0.0), LogitAdjustment(0.0), FedLC(0.0), FedRS(1.0), FedRS(0.3)]
)
def test_neutral_values_are_cross_entropy(loss):
    assert value(loss) == pytest.approx(value(CrossEntropy()), abs=1e-6)


@pytest.mark.parametrize("loss", [ClassBalanced(), BalancedSoftmax(), LogitAdjustment(2.0), FedLC()])
def test_equal_counts_are_cross_entropy(loss):
    assert value(loss, counts=torch.tensor([7, 7, 7])) == pytest.approx(value(CrossEntropy()), abs=1e-6)


def test_scaling_counts_leaves_logit_adjustment_and_changes_class_balanced():
    assert value(BalancedSoftmax(), counts=COUNTS * 9) == pytest.approx(value(BalancedSoftmax()), abs=1e-6)
    assert value(ClassBalanced(0.9), counts=COUNTS * 9) != pytest.approx(value(ClassBalanced(0.9)), abs=1e-3)


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: type(loss).__name__)
def test_gradients_sum_to_zero_and_huge_logits_stay_finite(loss):
    z = Z.clone().requires_grad_()
    loss(z, batch_of(loss)).backward()
    if not isinstance(loss, FedRS):
        torch.testing.assert_close(z.grad.sum(1), torch.zeros(4), atol=1e-6, rtol=0)
    for counts in (COUNTS, torch.tensor([100, 10, 0])):
        big = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
        result = loss(big, batch_of(loss, counts, torch.tensor([1, 1])))
        result.backward()
        assert torch.isfinite(result)
        assert torch.isfinite(big.grad).all()


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: type(loss).__name__)
def test_adding_a_constant_and_padding_rows_change_nothing(loss):
    if not isinstance(loss, FedRS):
        assert value(loss, Z + 5) == pytest.approx(value(loss), abs=1e-5)
    weight = torch.tensor([1.0, 1.0, 0.0, 0.0])
    padded = loss(Z, batch_of(loss, weight=weight))
    torch.testing.assert_close(padded, loss(Z[:2], batch_of(loss, y=Y[:2])))


def test_focal_is_at_most_cross_entropy():
    assert (Focal(1.5).rows(Z, batch_of(Focal())) <= CrossEntropy().rows(Z, batch_of(Focal()))).all()


def test_mean_over_rows_equals_torch():
    assert CrossEntropy()(Z, batch_of(CrossEntropy())) == F.cross_entropy(Z, Y)


def test_restricted_softmax_by_hand():
    loss = FedRS(0.5)
    counts = torch.tensor([3, 4, 0])
    scaled = Z * torch.tensor([1.0, 1.0, 0.5])
    assert value(loss, counts=counts) == pytest.approx(float(F.cross_entropy(scaled, Y)), abs=1e-6)


def test_calibration_by_hand():
    counts = torch.tensor([16, 81, 1])
    shifted = Z - 2.0 * torch.tensor([1 / 2, 1 / 3, 1.0])
    assert value(FedLC(2.0), counts=counts) == pytest.approx(float(F.cross_entropy(shifted, Y)), abs=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: Focal(-1), lambda: ClassBalanced(1.0), lambda: LogitAdjustment(-1), lambda: FedRS(2)]
)
def test_wrong_parameters(make):
    with pytest.raises(ValueError, match="got"):
        make()
