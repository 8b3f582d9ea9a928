"""Correlations, against scipy where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbal.contribution.correlation import kendall, mean_ranks, pearson, spearman

PAIRS = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=12)


@given(PAIRS)
def test_agrees_with_scipy_with_ties(pairs):
    stats = pytest.importorskip("scipy.stats")
    x, y = np.array(pairs, np.float64).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert pearson(x, y) is None
        assert spearman(x, y) is None
        assert kendall(x, y) is None
        return
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)


def test_by_hand():
    assert mean_ranks(np.array([3.0, 1.0, 3.0, 7.0])).tolist() == [2.5, 1.0, 2.5, 4.0]
    assert spearman([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1.0)
    assert spearman([1, 2, 3], [3, 1, 2]) == pytest.approx(-0.5)
    assert pearson([0, 1, 2], [5, 3, 1]) == pytest.approx(-1.0)
    assert kendall([1, 2, 3], [3, 1, 2]) == pytest.approx(-1 / 3)


def test_what_has_no_correlation():
    assert pearson([1.0], [2.0]) is None
    assert spearman([0.1, 0.1, 0.1], [1, 2, 3]) is None
    assert spearman([np.nan, 1.0], [1.0, 2.0]) is None
    assert kendall([np.nan, 1.0], [1.0, 2.0]) is None
    with pytest.raises(ValueError, match="one length"):
        kendall([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="one length"):
        pearson([1, 2], [1, 2, 3])
