"""Values of coalitions: worked examples, the axioms, truncation and its cache."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbal.contribution.shapley import (
    draw_order,
    exact_shapley,
    leave_one_out,
    truncated_monte_carlo,
    walk,
)

EXAMPLE = (0.30, 0.20, 0.05)


def example(coalition):
    """0.1 and 0.4, 0.3, 0.05 for the clients, less 0.2 where the first two meet."""
    gains = {0: 0.4, 1: 0.3, 2: 0.05}
    return 0.1 + sum(gains[client] for client in coalition) - 0.2 * ({0, 1} <= coalition)


def coalitions(n):
    for size in range(n + 1):
        yield from map(frozenset, itertools.combinations(range(n), size))


def games(n):
    number = st.floats(-10, 10, allow_nan=False)
    values = st.lists(number, min_size=2**n, max_size=2**n)
    return values.map(lambda drawn: dict(zip(coalitions(n), drawn, strict=True)))


def test_worked_example():
    np.testing.assert_allclose(exact_shapley(example, 3), EXAMPLE, atol=1e-12)
    np.testing.assert_allclose(leave_one_out(example, 3), (0.20, 0.10, 0.05), atol=1e-12)


def test_worked_example_of_averaged_models():
    """Updates (1, 0), (.8, .2), (-.5, .5) of 100, 50 and 50 samples; V = 1 - squared distance to (.9, .1)."""
    updates, samples = np.array([[1.0, 0.0], [0.8, 0.2], [-0.5, 0.5]]), np.array([100, 50, 50])

    def value(coalition):
        members = sorted(coalition)
        mean = np.average(updates[members], axis=0, weights=samples[members]) if members else np.zeros(2)
        return 1.0 - float(((mean - (0.9, 0.1)) ** 2).sum())

    np.testing.assert_allclose(exact_shapley(value, 3), (0.766806, 0.536528, -0.594583), atol=1e-6)
    np.testing.assert_allclose(leave_one_out(value, 3), (0.51375, 0.053194, -0.109028), atol=1e-6)


@given(games(4))
def test_efficiency_and_mean_over_orders(table):
    values = exact_shapley(table, 4)
    assert values.sum() == pytest.approx(table[frozenset(range(4))] - table[frozenset()], abs=1e-9)
    gains = np.zeros(4)
    orders = list(itertools.permutations(range(4)))
    for order in orders:
        gains[list(order)] += walk(order, table.__getitem__, 0.0, 4)
    np.testing.assert_allclose(values, gains / len(orders), atol=1e-9)


@given(games(3), st.floats(-3, 3), st.floats(-3, 3))
def test_linear_in_the_utility(table, scale, constant):
    other = {coalition: math.sin(7 * value) for coalition, value in table.items()}
    mixed = {coalition: scale * table[coalition] + other[coalition] + constant for coalition in table}
    expected = scale * exact_shapley(table, 3) + exact_shapley(other, 3)
    np.testing.assert_allclose(exact_shapley(mixed, 3), expected, atol=1e-9)


def test_symmetric_clients_share_and_null_clients_get_nothing():
    """Clients 0 and 1 are duplicates, 3 changes nothing: leave-one-out sees no duplicate, Shapley shares."""

    def value(coalition):
        return float(bool({0, 1} & coalition)) + 0.5 * (2 in coalition)

    np.testing.assert_allclose(exact_shapley(value, 4), (0.5, 0.5, 0.5, 0.0), atol=1e-12)
    np.testing.assert_allclose(leave_one_out(value, 4), (0.0, 0.0, 0.5, 0.0), atol=1e-12)


def test_few_clients_and_additive_utilities():
    assert exact_shapley({frozenset(): 0.25, frozenset({0}): 1.0}, 1) == pytest.approx([0.75])
    pair = {frozenset(): 0.0, frozenset({0}): 0.5, frozenset({1}): 0.25, frozenset({0, 1}): 1.0}
    np.testing.assert_allclose(exact_shapley(pair, 2), (0.625, 0.375))
    gains = np.array([0.3, -0.1, 0.7, 0.0, 0.2])

    def additive(coalition):
        return float(gains[sorted(coalition)].sum())

    np.testing.assert_allclose(exact_shapley(additive, 5), gains, atol=1e-12)
    np.testing.assert_allclose(leave_one_out(additive, 5), gains, atol=1e-12)


def test_every_coalition_is_read_once_and_a_missing_one_named():
    read = []
    exact_shapley(lambda coalition: read.append(coalition) or 0.0, 5)
    assert len(read) == len(set(read)) == 32
    with pytest.raises(ValueError, match=r"no utility for the coalition \[1\]"):
        exact_shapley({frozenset(): 0.0, frozenset({0}): 1.0, frozenset({0, 1}): 1.0}, 2)
    with pytest.raises(ValueError, match="at least one client"):
        exact_shapley({}, 0)


def test_guided_orders_are_unbiased():
    """Each client first, every order of the rest: the mean is the Shapley value."""
    gains = np.zeros(3)
    for first in range(3):
        for rest in itertools.permutations([client for client in range(3) if client != first]):
            gains[[first, *rest]] += walk([first, *rest], example, 0.0, 3)
    np.testing.assert_allclose(gains / 6, EXAMPLE, atol=1e-12)
    drawn = [draw_order(3, 1, index, guided=True) for index in range(6)]
    assert [order[0] for order in drawn] == [0, 1, 2, 0, 1, 2]
    assert all(sorted(order) == [0, 1, 2] for order in drawn)


@pytest.mark.parametrize("guided", [False, True])
def test_monte_carlo_comes_close_and_is_efficient(guided):
    found = truncated_monte_carlo(example, 3, 600, seed=3, patience=3, guided=guided)
    np.testing.assert_allclose(found.values, EXAMPLE, atol=0.02)
    assert np.all(np.abs(found.values - EXAMPLE) <= 4 * found.standard_errors + 1e-12)
    assert found.values.sum() == pytest.approx(0.55, abs=1e-12)
    assert (found.evaluations, found.skipped, found.orders) == (8, 0, 600)


def test_monte_carlo_repeats_itself_and_more_orders_begin_with_the_same():
    first, again = (truncated_monte_carlo(example, 3, 20, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    assert [draw_order(6, 5, index) for index in range(4)] != [draw_order(6, 6, index) for index in range(4)]
    single = truncated_monte_carlo(example, 3, 1, seed=5)
    assert np.isnan(single.standard_errors).all()
    assert single.values.sum() == pytest.approx(0.55)


def test_truncation_waits_and_skipped_utilities_are_never_taken_for_measured():
    """The first client is worth 1, every other 0.001: the walk ends after more than two near steps in a row."""
    read = {}

    def value(coalition):
        read[coalition] = read.get(coalition, 0) + 1
        return 1.0 * (0 in coalition) + 0.001 * len(coalition - {0})

    order = [1, 0, 2, 3, 4, 5]
    gains = walk(order, value, near=0.01, patience=2)
    np.testing.assert_allclose(gains, [0.001, 1.0, 0.001, 0.001], atol=1e-12)
    assert frozenset({0, 1, 2, 3, 4}) not in read

    read.clear()
    found = truncated_monte_carlo(value, 6, 40, seed=0, tolerance=0.01, patience=2)
    assert found.skipped > 0
    assert found.evaluations == len(read)
    assert set(read.values()) == {1}
    gap = 1.005 - found.values.sum()
    assert 0 < gap <= 0.01 * 1.005
    whole = truncated_monte_carlo(value, 6, 40, seed=0, tolerance=0.01, patience=6)
    assert whole.skipped == 0
    np.testing.assert_allclose(whole.values, [1.0, *[0.001] * 5], atol=1e-12)


@pytest.mark.parametrize("wrong", [{"orders": 0}, {"tolerance": -0.1}, {"patience": -1}])
def test_parameters_out_of_range(wrong):
    with pytest.raises(ValueError, match="need orders"):
        truncated_monte_carlo(example, 3, **{"orders": 3, "seed": 0, **wrong})
