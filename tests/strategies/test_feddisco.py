"""FedDisco against worked numbers and its invariants."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import ConfigRecord, MetricRecord

from fedbal.protocol import LABEL_COUNTS
from strategies.feddisco import METRICS, DiscrepancyAware, FedDisco, disco_weights, discrepancy
from strategies.report import RoundReport
from strategies.validation import ClientReply

COUNTS = np.array([[100, 100, 100], [180, 10, 10], [0, 50, 50], [30, 0, 0]])
SIZES = COUNTS.sum(1)
KL = [0.0, 0.31889560, 0.18361028, 0.49749412]


@pytest.mark.parametrize(
    ("metric", "a", "b", "distances", "weights"),
    [
        ("kl", 0.5, 0.1, KL, [0.57554126, 0.25772180, 0.16673694, 0]),
        ("kl", 1.0, 0.1, KL, [0.76838195, 0.13144152, 0.10017653, 0]),
        ("kl", 0.5, 0.0, KL, [0.67917765, 0.22536900, 0.09545335, 0]),
        ("l2", 0.5, 0.1, [0, 0.69402209, 0.40824829, 0.81649658], [0.82166697, 0.10046303, 0.07787001, 0]),
        (
            "l2",
            0.1,
            0.1,
            [0, 0.69402209, 0.40824829, 0.81649658],
            [0.47693019, 0.28809817, 0.18036680, 0.05460485],
        ),
        ("l1", 0.5, 0.1, [0, 1.13333333, 0.66666667, 1.33333333], [1, 0, 0, 0]),
        (
            "cosine",
            0.5,
            0.1,
            [0, 0.36047052, 0.18350342, 0.42264973],
            [0.58771319, 0.24196911, 0.17031770, 0],
        ),
        ("kl", 0.0, 0.1, KL, [0.41156463, 0.29818594, 0.18480726, 0.10544218]),
    ],
)
def test_worked_example(metric, a, b, distances, weights):
    found = discrepancy(COUNTS, metric)
    np.testing.assert_allclose(found, distances, atol=1e-8)
    np.testing.assert_allclose(disco_weights(SIZES, found, a, b), weights, atol=1e-8)


def test_worked_example_with_a_target():
    found = discrepancy(COUNTS, "kl", target=[0.5, 0.3, 0.2])
    np.testing.assert_allclose(found, [0.03802837, 0.20037633, 0.38632294, 0.37527235], atol=1e-8)
    expected = [0.59272993, 0.33751741, 0.06975265, 0]
    np.testing.assert_allclose(disco_weights(SIZES, found, 0.5, 0.1), expected, atol=1e-8)


def test_worked_example_of_the_printed_formula():
    found = discrepancy(COUNTS, "kl", normalise=False)
    np.testing.assert_allclose(found, [0, 0.70421460, 0.40546511, 1.09861229], atol=1e-8)
    expected = [0.82603086, 0.09369056, 0.08027856, 0]
    np.testing.assert_allclose(disco_weights(SIZES, found, 0.5, 0.1), expected, atol=1e-8)


def test_weights_are_relative_to_the_participants():
    found = discrepancy(COUNTS[1:], "kl")
    np.testing.assert_allclose(found, [0.31889560, 0.18361028, 0.49749412], atol=1e-8)
    np.testing.assert_allclose(
        disco_weights(SIZES[1:], found, 0.5, 0.1), [0.63719820, 0.36280180, 0], atol=1e-8
    )


def test_biased_and_full_clients_of_equal_size():
    counts = np.zeros((6, 10))
    for client in range(5):
        counts[client, 2 * client : 2 * client + 2] = 500
    counts[5] = 100
    weights = disco_weights(counts.sum(1), discrepancy(counts, "kl"), 0.5, 0.1)
    np.testing.assert_allclose(weights, [0.15151515] * 5 + [0.24242424], atol=1e-8)
    for metric in ("l2", "l1", "cosine"):
        weights = disco_weights(counts.sum(1), discrepancy(counts, metric), 0.5, 0.1)
        np.testing.assert_allclose(weights, [0, 0, 0, 0, 0, 1], atol=1e-12)


def test_iid_clients_of_different_sizes():
    counts = np.outer([1, 2, 3], np.ones(4)) * 10
    weights = disco_weights(counts.sum(1), discrepancy(counts), 0.5, 0.1)
    np.testing.assert_allclose(weights, [0.20512821, 0.33333333, 0.46153846], atol=1e-8)


@pytest.mark.parametrize("metric", METRICS)
def test_a_and_b_zero_is_fedavg(metric):
    weights = disco_weights(SIZES, discrepancy(COUNTS, metric), 0.0, 0.0)
    np.testing.assert_array_equal(weights, SIZES / SIZES.sum())


def test_permutation_moves_weights_along():
    order = np.array([2, 0, 3, 1])
    straight = disco_weights(SIZES, discrepancy(COUNTS), 0.5, 0.1)
    permuted = disco_weights(SIZES[order], discrepancy(COUNTS[order]), 0.5, 0.1)
    np.testing.assert_allclose(permuted, straight[order], atol=1e-15)


def test_scaling_a_histogram_changes_nothing_while_sizes_are_held():
    scaled = COUNTS * np.array([[7], [1], [1], [1]])
    np.testing.assert_allclose(discrepancy(scaled), discrepancy(COUNTS), atol=1e-15)


def test_larger_discrepancy_never_gets_a_larger_weight_at_equal_sizes():
    distances = np.linspace(0, 1, 7)
    weights = disco_weights(np.ones(7), distances, 0.5, 0.1)
    assert (np.diff(weights) <= 0).all()


def test_all_clipped_falls_back_to_sample_shares():
    weights = disco_weights([10, 30], [5.0, 5.0], 1.0, 0.0)
    np.testing.assert_array_equal(weights, [0.25, 0.75])


def test_only_iid_drops_skewed_clients_unless_a_is_zero():
    found = discrepancy(COUNTS, "only_iid")
    np.testing.assert_array_equal(found, [0.01, np.inf, np.inf, np.inf])
    np.testing.assert_array_equal(disco_weights(SIZES, found, 0.5, 0.1), [1, 0, 0, 0])
    assert np.isfinite(disco_weights(SIZES, found, 0.0, 0.1)).all()


def test_large_offset_is_uniform():
    np.testing.assert_allclose(disco_weights(SIZES, discrepancy(COUNTS), 0.5, 1e9), [0.25] * 4, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: discrepancy(COUNTS, "chi2"), "chi2"),
        (lambda: discrepancy([[0, 0]]), "sample in every row"),
        (lambda: discrepancy(COUNTS, target=[1, 0, 1]), "positive"),
        (lambda: discrepancy(COUNTS, target=[0.5, 0.5]), "3 positive"),
        (lambda: disco_weights(SIZES, [0, 0, 0, 0], -1, 0), "a=-1"),
        (lambda: disco_weights(SIZES, [0, 0], 0.5, 0.1), "4 discrepancies"),
        (lambda: disco_weights([0, 1], [0, 0], 0.5, 0.1), "positive"),
        (lambda: FedDisco(metric="kullback"), "kullback"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("b", "scaled", "noted"), [(0.6, False, True), (0.5, False, False), (0.6, True, False)]
)
def test_an_offset_that_spreads_most_of_the_weight_is_noted(b, scaled, noted):
    report = RoundReport()
    weighting = DiscrepancyAware(0.5, b, scale_by_cohort=scaled)
    found = weighting.weights([reply(node) for node in range(4)], report)
    assert any("spreads" in note for note in report.notes) == noted
    a, offset = (0.5 / 4, b / 4) if scaled else (0.5, b)
    np.testing.assert_allclose(found, disco_weights(SIZES, discrepancy(COUNTS), a, offset))
    if noted:
        assert report.notes == [
            "FedDisco's b = 0.6 alone spreads 71% of the weight of 4 clients evenly; lower b or set scale_by_cohort"
        ]


def reply(node):
    extras = {LABEL_COUNTS: COUNTS[node].tolist()}
    return ClientReply(
        node=node,
        num_examples=int(SIZES[node]),
        arrays={},
        metrics=MetricRecord(),
        extras=ConfigRecord(extras),
    )
