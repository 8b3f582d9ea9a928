import numpy as np
import pytest

from fedbal.data.quantity import dirichlet_sizes, lognormal, power_law


def rng(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize(
    "profile",
    [
        lambda k, r: lognormal(k, r, sigma=2.0),
        lambda k, r: power_law(k, r, exponent=1.5),
        lambda k, r: dirichlet_sizes(k, r, alpha=0.3),
    ],
    ids=["lognormal", "power_law", "dirichlet_sizes"],
)
@pytest.mark.parametrize("clients", [1, 10, 100_000])
def test_proportions_sum_to_one_and_follow_the_seed(profile, clients):
    first = profile(clients, rng())
    assert first.shape == (clients,)
    assert np.all(first >= 0)
    assert first.sum() == pytest.approx(1.0)
    np.testing.assert_array_equal(first, profile(clients, rng()))
    assert clients == 1 or not np.array_equal(first, profile(clients, rng(1)))


def test_zero_spread_is_equal_sizes():
    np.testing.assert_allclose(lognormal(4, rng(), sigma=0.0), 0.25)
    np.testing.assert_allclose(power_law(4, rng(), exponent=0.0), 0.25)


def test_lognormal_has_its_sigma():
    assert np.log(lognormal(20_000, rng(), sigma=1.5)).std() == pytest.approx(1.5, rel=0.03)


def test_power_law_has_its_exponent_in_random_order():
    sizes = power_law(50, rng(), exponent=1.2)
    falling = np.sort(sizes)[::-1]
    np.testing.assert_allclose(falling / falling[0], np.arange(1, 51) ** -1.2)
    assert not np.array_equal(sizes, falling)


def test_dirichlet_sizes_have_their_variance():
    draws = np.array([dirichlet_sizes(10, rng(seed), alpha=0.5) for seed in range(2000)])
    assert draws.var() == pytest.approx(0.1 * 0.9 / 6.0, rel=0.1)


def test_a_large_sigma_does_not_overflow():
    assert np.isfinite(lognormal(1000, rng(), sigma=20.0)).all()
