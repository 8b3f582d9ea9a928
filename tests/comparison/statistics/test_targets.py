"""Times to a target, with runs that never reach it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from fedbal.comparison.statistics.targets import to_target


def test_a_run_that_never_arrives_counts_with_the_horizon():
    found = to_target([10, None, 30, 60], [True, False, True, True], 50)
    assert (found.runs, found.reached, found.share) == (4, 2, 0.5)
    assert found.mean == (10 + 50 + 30 + 50) / 4
    restricted = np.array([10, 50, 30, 50])
    interval = stats.ttest_1samp(restricted, 0).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(interval.low), 50.0)
    assert interval.high > 50.0
    assert (found.share_low, found.share_high) == pytest.approx(proportion_confint(2, 4, method="beta"))


def test_one_run_has_no_interval():
    found = to_target([3.0], [True], 8.0)
    assert (found.mean, found.low, found.high) == (3.0, None, None)


def test_nobody_arrives():
    found = to_target([None, None], [False, False], 7.0)
    assert (found.share, found.mean, found.low, found.high) == (0.0, 7.0, 7.0, 7.0)


@pytest.mark.parametrize(
    ("times", "reached", "horizon", "said"),
    [
        ([], [], 5.0, "at least one run"),
        ([1.0], [True, False], 5.0, "both of each"),
        ([None], [True], 5.0, "at None"),
        ([-1.0], [True], 5.0, "at -1.0"),
        ([1.0], [True], 0.0, "horizon is 0.0"),
    ],
)
def test_what_makes_no_sense_is_refused(times, reached, horizon, said):
    with pytest.raises(ValueError, match=said):
        to_target(times, reached, horizon)
