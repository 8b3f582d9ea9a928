"""Power, smallest gaps and numbers of seeds against statsmodels and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from fedbal.comparison.statistics.paired import paired
from fedbal.comparison.statistics.power import (
    least_seeds,
    power_of_difference,
    power_of_equivalence,
    seeds_for,
    smallest_detectable,
    smallest_p,
)


def test_the_smallest_p_is_two_flips_times_the_family():
    assert smallest_p(5) == 0.0625
    assert smallest_p(5, 2) == 0.125
    assert smallest_p(10, 3) == 3 * 2 / 1024
    assert smallest_p(0) == smallest_p(1) == smallest_p(2, 4) == 1.0
    assert smallest_p(30) == 1e-5
    assert [least_seeds(0.05, family) for family in (1, 2, 10)] == [6, 7, 9]
    assert least_seeds(1e-9) > 1000


@pytest.mark.parametrize(("difference", "n"), [(0.5, 6), (1.2, 10), (0.2, 200), (0.0, 9)])
def test_power_is_that_of_statsmodels(difference, n):
    assert power_of_difference(-2 * difference, 2.0, n, 0.05) == pytest.approx(
        TTestPower().power(difference, n, 0.05), abs=1e-9
    )


def test_power_far_from_zero_is_one():
    assert power_of_difference(50.0, 0.1, 20, 0.01) == 1.0


def test_power_of_equivalence_by_simulation():
    generator = np.random.default_rng(2)
    differences = generator.normal(0.001, 0.004, (20_000, 10))
    share = (paired(differences, np.zeros_like(differences), 0.005).p_equivalence <= 0.05).mean()
    assert power_of_equivalence(0.001, 0.004, 0.005, 10, 0.05) == pytest.approx(share, abs=0.01)


def test_the_smallest_gap_has_the_power():
    found = smallest_detectable(10, 0.02, 0.05, 0.8, family=2)
    assert found == pytest.approx(0.02 * TTestPower().solve_power(None, 10, 0.025, 0.8), rel=1e-4)
    assert smallest_detectable(10) == pytest.approx(0.9962, abs=1e-3)
    assert smallest_detectable(5) is None
    assert smallest_detectable(6, family=2) is None


def test_the_seeds_that_would_decide():
    by_statsmodels = int(np.ceil(TTestPower().solve_power(0.5, None, 0.05, 0.8)))
    assert seeds_for(0.01, 0.02) == by_statsmodels
    assert seeds_for(0.05, 0.001) == 6
    assert seeds_for(0.05, 0.001, more_than=9) == 10
    assert seeds_for(0.05, 0.001, family=3) == 7
    assert seeds_for(0.00001, 0.05) is None


def test_equivalence_can_be_earlier():
    n = seeds_for(0.0, 0.004, margin=0.005)
    assert power_of_equivalence(0.0, 0.004, 0.005, n, 0.05) >= 0.8
    assert power_of_equivalence(0.0, 0.004, 0.005, n - 1, 0.05) < 0.8
    assert seeds_for(0.0, 0.004, margin=0.0) is None


def test_seeds_without_spread_are_those_of_sign_flips():
    assert seeds_for(0.0, 0.0, margin=0.005, family=2) == 6
    assert seeds_for(0.02, 0.0, margin=0.005) == 6
    assert seeds_for(0.0, 0.0) is None
