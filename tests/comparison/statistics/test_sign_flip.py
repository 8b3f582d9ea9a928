"""The sign-flip test against counts by hand and SciPy's permutation tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fedbal.comparison.statistics import sign_flip as module
from fedbal.comparison.statistics.sign_flip import sign_flip, signed_ranks


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.4], 1.0),
        ([1.0, 2.0, 3.0], 2 / 8),
        ([1.0, 2.0, -3.0], 1.0),
        ([-1.0, 2.0, 3.0], 4 / 8),
        ([0.0, 0.0, 0.0], 1.0),
        ([0.0, 1.0, 1.0], 2 / 4),
        ([1.0] * 5, 2 / 32),
    ],
)
def test_flips_counted_by_hand(differences, p):
    assert sign_flip(np.array(differences)) == p


def test_equal_differences_that_differ_by_rounding_tie():
    differences = np.array([0.3 - 0.2, -(0.2 - 0.1), 0.8 - 0.7, 0.7 - 0.6])
    assert sign_flip(differences) == sign_flip(np.array([1.0, -1.0, 1.0, 1.0])) == 10 / 16


@pytest.mark.parametrize("n", [4, 7, 10])
def test_as_scipy_counts(n):
    generator = np.random.default_rng(n)
    a, b = generator.normal(0.2, 1.0, (3, n)), generator.normal(0.0, 1.0, (3, n))
    expected = stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        axis=-1,
        n_resamples=np.inf,
    )
    assert sign_flip(a - b) == pytest.approx(expected.pvalue, abs=1e-12)


def test_many_rows_are_those_one_by_one(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(4, 3, 6))
    expected = np.array([[sign_flip(row) for row in block] for block in rows])
    monkeypatch.setattr(module, "_CELLS", 64)
    assert (sign_flip(rows) == expected).all()


def test_drawn_flips_come_near_counted_ones_and_repeat():
    differences = np.random.default_rng(3).normal(0.4, 1.0, 21)
    drawn = sign_flip(differences)
    counted = module._all_flips(differences[None])[0]
    assert drawn == sign_flip(differences)
    assert drawn == pytest.approx(counted, abs=4 * np.sqrt(counted / module.DRAWS))
    assert sign_flip(np.full(25, 1.0)) == 1 / (1 + module.DRAWS)


def test_flips_of_signed_ranks_are_wilcoxons_test():
    differences = np.random.default_rng(5).normal(0.3, 1.0, 9)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert sign_flip(signed_ranks(differences)) == pytest.approx(expected)


def test_ranks_leave_zeros_out_and_share_ties():
    assert signed_ranks(np.array([0.0, 2.0, -2.0, 5.0, -1.0])).tolist() == [0.0, 2.5, -2.5, 4.0, -1.0]
    assert signed_ranks(np.array([0.3 - 0.2, 0.2 - 0.1])).tolist() == [1.5, 1.5]
    assert signed_ranks(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
