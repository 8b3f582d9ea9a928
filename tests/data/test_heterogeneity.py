import json

import numpy as np
import pytest

from fedbal.data.federation import load_federation
from fedbal.data.heterogeneity import describe, jensen_shannon, measure
from fedbal.data.params import DigitsData, DirichletParams, IidParams


def test_by_hand():
    # Global distribution (1/2, 1/4, 1/4): 8, 4 and 4 rows.
    result = measure(np.array([[8, 0, 0], [0, 4, 4], [0, 0, 0]]))
    assert list(result.sizes) == [8, 8, 0]
    assert result.imbalance_factor == 2.0
    np.testing.assert_allclose(result.total_variation, [0.5, 0.5, np.nan])
    # Mixture of (1, 0, 0) and (1/2, 1/4, 1/4): (3/4, 1/8, 1/8), entropy 0.75 log2(4/3) + 0.75 = 1.06127812 bits.
    np.testing.assert_allclose(result.jensen_shannon[0], np.sqrt(1.0612781245 - 0.5 * 1.5))
    np.testing.assert_allclose(result.effective_classes, [1.0, 2.0, np.nan])
    assert result.global_total_variation == pytest.approx(0.5 - 1 / 3)
    # Sorted sizes 0, 8, 8: (-2*0 + 0*8 + 2*8) / (3 * 16).
    assert result.gini == pytest.approx(1 / 3)


def test_equal_clients_have_no_distance():
    result = measure(np.full((4, 5), 3))
    np.testing.assert_allclose(result.total_variation, 0.0)
    np.testing.assert_allclose(result.jensen_shannon, 0.0, atol=1e-7)
    np.testing.assert_allclose(result.effective_classes, 5.0)
    assert (result.imbalance_factor, result.gini, result.global_total_variation) == (1.0, 0.0, 0.0)


def test_disjoint_distributions_have_distance_one():
    assert jensen_shannon(np.array([[1.0, 0.0]]), np.array([0.0, 1.0]))[0] == pytest.approx(1.0)


def test_jensen_shannon_is_that_of_scipy():
    distance = pytest.importorskip("scipy.spatial.distance").jensenshannon
    rng = np.random.Generator(np.random.PCG64(0))
    shares, reference = rng.dirichlet(np.full(6, 0.4), 20), rng.dirichlet(np.ones(6))
    expected = [distance(row, reference, base=2) for row in shares]
    np.testing.assert_allclose(jensen_shannon(shares, reference), expected, atol=1e-7)


def test_one_client_with_everything_has_the_largest_gini():
    assert measure(np.array([[0, 0], [9, 1], [0, 0], [0, 0]])).gini == pytest.approx(0.75)


def test_it_is_plain_json_without_nan_or_infinity():
    text = json.dumps(measure(np.array([[4, 0], [0, 0]])).to_dict(), allow_nan=False)
    back = json.loads(text)
    assert back["total_variation"] == [0.0, None]
    assert back["imbalance_factor"] is None
    assert back["counts"] == [[4, 0], [0, 0]]


def test_skewed_federations_measure_as_more_skewed():
    skewed = describe(load_federation(DigitsData(partition=DirichletParams(alpha=0.1)), 0))
    plain = describe(load_federation(DigitsData(partition=IidParams()), 0))
    assert np.mean(skewed.total_variation) > 5 * np.mean(plain.total_variation)
    assert np.mean(skewed.effective_classes) < 5 < np.mean(plain.effective_classes)
    np.testing.assert_array_equal(skewed.counts.sum(axis=1), skewed.sizes)
