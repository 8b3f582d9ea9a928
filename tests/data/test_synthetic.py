"""Against the published generator: sizes, means and totals for seed 0."""

import numpy as np
import pytest

from fedbal.data.dataset import Request
from fedbal.data.synthetic import draw_devices, load


def generate(seed=0, alpha=1.0, beta=1.0, iid=False, clients=30):
    return load(Request(seed), alpha=alpha, beta=beta, iid=iid, clients=clients)


@pytest.mark.parametrize(
    ("alpha", "beta", "iid"), [(0, 0, True), (0, 0, False), (0.5, 0.5, False), (1, 1, False)]
)
def test_totals_of_seed_zero_are_the_same_for_all_four_sets(alpha, beta, iid):
    data = generate(alpha=alpha, beta=beta, iid=iid)
    assert (len(data.y), len(data.y_test)) == (20_101, 2_248)
    assert data.input_shape == (60,)
    assert data.x.dtype == np.float32
    assert list(np.bincount(data.columns["client"])[:5]) == [
        int(0.9 * n) for n in (1909, 171, 436, 4876, 2337)
    ]


def test_device_draws_of_seed_zero():
    devices = draw_devices(np.random.RandomState(0), 1.0, 1.0, False, 30)
    assert list(devices.n[:5]) == [1909, 171, 436, 4876, 2337]
    assert devices.n.sum() == 22_349
    np.testing.assert_allclose(devices.u[:3], [0.15494743, 0.37816252, -0.88778575], atol=5e-9)
    np.testing.assert_allclose(devices.B[:3], [-0.67246045, -0.35955316, -0.81314628], atol=5e-9)
    np.testing.assert_allclose(devices.v[0, :3], [-1.07563739, 0.54998462, -0.46418547], atol=5e-9)


def test_rows_follow_the_generator_step_by_step():
    rng = np.random.RandomState(3)
    n = rng.lognormal(4, 2, 4).astype(int) + 50
    u, centre = rng.normal(0, 0.5, 4), rng.normal(0, 2.0, 4)
    v = np.array([rng.normal(value, 1, 60) for value in centre])
    covariance = np.diag(np.arange(1, 61) ** -1.2)
    weight, bias = rng.normal(u[0], 1, (60, 10)), rng.normal(u[0], 1, 10)
    rows = rng.multivariate_normal(v[0], covariance, n[0])
    labels = np.argmax(rows @ weight + bias, axis=1)
    data = generate(seed=3, alpha=0.5, beta=2.0, clients=4)
    first = int(0.9 * n[0])
    np.testing.assert_allclose(data.x[:first], rows[:first], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(data.x_test[: n[0] - first], rows[first:], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(data.y[:first], labels[:first])


def test_feature_variances_fall_as_stated():
    data = generate(iid=True)
    np.testing.assert_allclose(data.x.std(axis=0), np.arange(1, 61) ** -0.6, rtol=0.05)
    np.testing.assert_allclose(data.x.mean(axis=0), 0.0, atol=0.03)


def test_iid_devices_share_one_model_and_others_do_not():
    def agreement(data):
        owner = data.columns["client"]
        shares = [np.bincount(data.y[owner == k], minlength=10) / np.sum(owner == k) for k in range(30)]
        return np.abs(np.array(shares) - np.bincount(data.y, minlength=10) / len(data.y)).sum(axis=1).mean()

    assert agreement(generate(iid=True)) < 0.5 * agreement(generate())


def test_the_seed_decides():
    assert generate(1).fingerprint() == generate(1).fingerprint() != generate(2).fingerprint()
    assert generate(2**40 + 1, clients=2).fingerprint() == generate(1, clients=2).fingerprint()
