"""Summaries of pairs against SciPy, statsmodels and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from fedbal.comparison.statistics.paired import decide, holm, paired

GENERATOR = np.random.default_rng(11)
A = GENERATOR.normal(0.72, 0.02, (4, 8))
B = A + GENERATOR.normal(-0.01, 0.01, (4, 8))


def test_t_test_interval_effect_and_correlation_are_scipys():
    found = paired(A, B, 0.01)
    for row in range(len(A)):
        expected = stats.ttest_rel(A[row], B[row])
        interval = expected.confidence_interval(0.95)
        assert found.p_t[row] == pytest.approx(expected.pvalue)
        assert (found.low[row], found.high[row]) == pytest.approx((interval.low, interval.high))
        assert found.d_z[row] == pytest.approx(expected.statistic / np.sqrt(8))
        assert found.correlation[row] == pytest.approx(stats.pearsonr(A[row], B[row]).statistic)


@pytest.mark.parametrize("margin", [0.0, 0.004, 0.02])
def test_equivalence_is_that_of_statsmodels(margin):
    found = paired(A, B, margin)
    for row in range(len(A)):
        assert found.p_equivalence[row] == pytest.approx(ttost_paired(A[row], B[row], -margin, margin)[0])


def test_rank_biserial_is_the_simple_difference():
    # Ranks 1 to 4: favourable 4 + 3 + 1, unfavourable 2.
    found = paired(np.array([1.4, 1.3, 1.1, 0.8]), np.ones(4), 0.0)
    assert found.rank_biserial == pytest.approx((8 - 2) / 10)
    assert paired(np.ones(4), np.ones(4), 0.0).rank_biserial == 0.0


def test_differences_without_spread():
    base = np.array([0.71, 0.73, 0.77, 0.75])
    same, near, far = (paired(base + shift, base, 0.005) for shift in (0.0, 0.003, 0.02))
    for found in (same, near, far):
        assert found.sd == 0.0
        assert np.isnan(found.p_t)
        assert np.isnan(found.d_z)
        assert found.low == found.high == found.difference
    assert (same.p, near.p, far.p) == (1.0, 2 / 16, 2 / 16)
    assert (same.p_equivalence, near.p_equivalence, far.p_equivalence) == (1 / 16, 1 / 16, 1.0)


def test_one_pair_has_a_difference_and_nothing_else():
    found = paired(np.array([0.8]), np.array([0.7]), 0.005)
    assert found.difference == pytest.approx(0.1)
    assert found.p == 1.0
    for number in (found.low, found.high, found.p_t, found.p_equivalence, found.d_z, found.correlation):
        assert np.isnan(number)


def test_correlation_needs_two_sides_that_vary():
    assert np.isnan(paired(np.full(5, 0.1), np.arange(5.0), 0.0).correlation)
    assert paired(np.arange(5.0) * 2, np.arange(5.0), 0.0).correlation == pytest.approx(1.0)


def test_holm_is_that_of_statsmodels():
    p = GENERATOR.random((2, 6)) ** 3
    expected = [multipletests(row, method="holm")[1] for row in p]
    assert holm(p) == pytest.approx(np.array(expected))


def test_holm_by_hand_with_a_test_that_could_not_be_made():
    assert holm(np.array([0.01, np.nan, 0.04])).tolist() == pytest.approx([0.03, 1.0, 0.08])
    assert holm(np.array([0.03])).tolist() == [0.03]


def test_decisions():
    arguments = {"level": 0.05, "level_equivalence": 0.05}
    difference = np.array([0.1, -0.1, 0.001, 0.1, 0.001])
    p, same = np.array([0.05, 0.01, 0.6, 0.06, 0.01]), np.array([0.9, 0.9, 0.05, 0.4, 0.01])
    expected = ["better", "worse", "equivalent", "undecided", "better"]
    assert decide(difference, p, same, **arguments).tolist() == expected
    lower = decide(difference, p, same, **arguments, higher=False).tolist()
    assert lower == ["worse", "better", "equivalent", "undecided", "worse"]
    assert set(decide(difference, p * 0, same * 0, level=0.0, level_equivalence=0.0)) == {"undecided"}
