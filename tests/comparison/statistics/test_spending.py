"""What looks may spend."""

from __future__ import annotations

import pytest
from scipy.stats import norm

from fedbal.comparison.records import Look
from fedbal.comparison.statistics.spending import attainable, levels, spendable


def look(seeds, alpha, equivalence=None):
    return Look(seeds, alpha, "2025-01-01T00:00:00Z", equivalence)


def test_the_spending_function_of_lan_and_demets():
    # Half-way .00557, as tables of the O'Brien-Fleming-like function have it.
    assert spendable(0.5, 0.05) == pytest.approx(2 - 2 * norm.cdf(norm.ppf(0.975) / 0.5**0.5))
    assert spendable(0.5, 0.05) == pytest.approx(0.00557, abs=1e-5)
    assert spendable(1.0, 0.05) == spendable(1.7, 0.05) == 0.05
    assert spendable(0.0, 0.05) == 0.0
    shares = [spendable(share / 20, 0.05) for share in range(21)]
    assert shares == sorted(shares)


def test_the_planned_look_alone_has_all_of_alpha():
    for planned in (10, None):
        found = levels(10, planned, 0.05)
        assert (found.difference, found.equivalence, found.again) == (0.05, 0.05, False)


@pytest.mark.parametrize(
    ("level", "seeds", "family", "spent"),
    [
        (0.05, 5, 1, 0.0),
        (0.05, 6, 1, 1 / 32),
        (0.05, 6, 2, 1 / 32),
        (0.05, 10, 1, 25 / 512),
        (0.05, 10, 2, 25 / 512),
        (0.06, 7, 2, 3 / 64),
        (0.0, 10, 2, 0.0),
        (0.03, 25, 2, 0.03),
    ],
)
def test_what_so_few_flips_can_spend(level, seeds, family, spent):
    assert attainable(level, seeds, family) == pytest.approx(spent)


def test_what_a_look_cannot_spend_is_left():
    early = levels(5, 10, 0.05)
    assert early.difference == early.equivalence == pytest.approx(0.00557, abs=1e-5)
    planned = levels(10, 10, 0.05, [look(5, early.difference, early.equivalence)])
    assert planned.difference == 0.05
    assert planned.equivalence == pytest.approx(0.05 - early.equivalence)


def test_looks_never_spend_more_than_alpha():
    looks, spent = [], 0.0
    for seeds in (6, 9, 12, 15, 18, 30, 40):
        found = levels(seeds, 12, 0.05, looks, 3)
        looks.append(look(seeds, found.difference, found.equivalence))
        spent += attainable(found.difference, seeds, 3)
    assert spent <= 0.05 + 1e-12
    assert sum(one.alpha_equivalence for one in looks) <= 0.05 + 1e-12


def test_past_the_plan_there_is_what_was_left():
    found = levels(16, 10, 0.05, [look(10, 0.05, 0.05)], 2)
    assert found.difference == pytest.approx(0.05 - 25 / 512)
    assert found.equivalence == 0.0
    after_five = levels(10, 5, 0.05, [look(5, 0.05, 0.05)])
    assert (after_five.difference, after_five.equivalence) == (0.05, 0.0)


def test_a_look_at_the_same_seeds_spends_nothing():
    found = levels(5, 10, 0.05, [look(5, 0.005, 0.004)])
    assert (found.difference, found.equivalence, found.again) == (0.005, 0.004, True)
    assert levels(5, 10, 0.05, [look(5, 0.005)]).equivalence == 0.005
