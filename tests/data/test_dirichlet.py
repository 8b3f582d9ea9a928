import numpy as np
import pytest

from fedbal.data.heterogeneity import measure
from fedbal.data.partitions.dirichlet import dirichlet
from fedbal.data.partitions.dirichlet_client import dirichlet_client
from fedbal.errors import UsageError
from tests.data.pools import balanced, counts, pool


def per_class(source, clients=10, alpha=0.5, min_size=0, size_guard=False, proportions=None):
    result = dirichlet(
        source, proportions, clients=clients, alpha=alpha, min_size=min_size, size_guard=size_guard
    )
    return counts(result.owner, source.labels, clients, source.dataset.num_classes)


def per_client(source, clients=10, alpha=0.5):
    result = dirichlet_client(source, clients=clients, alpha=alpha)
    return counts(result.owner, source.labels, clients, source.dataset.num_classes)


@pytest.mark.parametrize("draw", [per_class, per_client])
def test_a_smaller_alpha_is_more_skewed_and_a_large_one_is_iid(draw):
    distances = [
        np.nanmean(measure(draw(balanced(10, 500), alpha=a)).total_variation) for a in (0.05, 0.5, 5, 1e4)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.6
    assert distances[-1] < 0.08


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_class_shares_have_the_moments_of_the_dirichlet_distribution(alpha):
    clients = 8
    shares = np.concatenate(
        [per_class(balanced(20, 400, seed), clients, alpha).T / 400 for seed in range(40)]
    ).ravel()
    variance = (1 / clients) * (1 - 1 / clients) / (clients * alpha + 1)
    assert shares.mean() == pytest.approx(1 / clients)
    assert shares.var() == pytest.approx(variance, rel=0.15)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_label_proportions_of_clients_have_the_moments_of_the_dirichlet_distribution(alpha):
    shares = np.concatenate([per_client(balanced(5, 10_000, seed), 100, alpha) / 500 for seed in range(5)])
    # Sampling 500 rows adds a little variance, classes that run out for the last clients take a little.
    sampling = 0.2 * 0.8 / 500
    assert shares.mean() == pytest.approx(0.2)
    assert shares.var() == pytest.approx(0.2 * 0.8 / (5 * alpha + 1) + sampling, rel=0.15)


def test_long_tailed_pools_give_long_tailed_clients_in_the_mean():
    source = pool(np.repeat([0, 1, 2], [8000, 1500, 500]), 3)
    mix = per_client(source, clients=20, alpha=1.0)
    assert set(mix.sum(axis=1)) == {500}
    np.testing.assert_array_equal(mix.sum(axis=0), [8000, 1500, 500])


def test_the_size_guard_stops_clients_that_hold_their_part():
    source = balanced(10, 100)
    free = [per_class(balanced(10, 100, seed), alpha=0.1).sum(axis=1).max() for seed in range(10)]
    guarded = [
        per_class(balanced(10, 100, seed), alpha=0.1, size_guard=True).sum(axis=1).max() for seed in range(10)
    ]
    # A guarded client holds fewer than its part, 100, before its last class of at most 100 rows.
    assert max(guarded) < 200
    assert np.mean(guarded) < np.mean(free)
    assert per_class(source, alpha=0.1, size_guard=True).sum() == 1000


def test_the_size_guard_holds_after_every_class():
    mix = per_class(balanced(10, 100), alpha=0.3, size_guard=True)
    before = np.cumsum(mix, axis=1) - mix
    assert np.all(mix[before >= 100] == 0)


def test_min_size_is_met_by_redrawing():
    sizes = per_class(balanced(10, 100), alpha=0.3, min_size=40).sum(axis=1)
    assert sizes.min() >= 40


def test_an_impossible_min_size_says_the_largest():
    with pytest.raises(
        UsageError, match=r"min_size 101 for 10 clients needs 1010 rows and there are 1000.*100"
    ):
        per_class(balanced(10, 100), min_size=101)


def test_exhausted_draws_say_what_was_reached():
    with pytest.raises(
        UsageError, match=r"no draw of 100 .*the best gave \d+\. Lower min_size to \d+ or less.*guard"
    ):
        per_class(balanced(10, 100), alpha=0.05, min_size=95)


@pytest.mark.parametrize("draw", [per_class, per_client])
@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 1e6])
def test_extreme_concentrations_stay_legal(draw, alpha):
    assert draw(balanced(3, 50), clients=40, alpha=alpha).sum() == 150


@pytest.mark.parametrize("alpha", [1e-6, 0.3])
def test_the_guard_survives_extreme_concentrations_and_classes_without_rows(alpha):
    source = pool(np.repeat([0, 2, 3], [30, 50, 40]), 5)
    mix = per_class(source, clients=6, alpha=alpha, size_guard=True)
    np.testing.assert_array_equal(mix.sum(axis=0), [30, 0, 50, 40, 0])
