"""Ranking and calibration from histograms: against scikit-learn, within the stated bounds, and mergeable."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedbal.calibration import ece, ece_error
from fedbal.ranking import auprc, auroc, auroc_error
from fedbal.scores import ScoreSums, predictions, score_sums
from fedbal.seeding import stream

reference = pytest.importorskip("sklearn.metrics")


def sample(
    n: int, classes: int, seed: int, scale: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw labels and logits that know a little about them."""
    draw = stream(seed, "scores-test")
    truth = draw.integers(0, classes, n)
    logits = draw.normal(size=(n, classes))
    logits[np.arange(n), truth] += 1.0
    return (scale * logits).astype(np.float32), truth


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    z = logits.astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("n", "classes", "scale"), [(360, 10, 1.0), (360, 10, 20.0), (2000, 4, 3.0), (50, 2, 0.1)]
)
def test_ranking_agrees_with_scikit_learn_within_the_bound(n: int, classes: int, scale: float) -> None:
    logits, truth = sample(n, classes, n, scale)
    sums, p = score_sums(logits, truth), probabilities(logits)
    bins = predictions(logits, truth).bins
    bounds = auroc_error(sums)
    for label in range(classes):
        exact = reference.roc_auc_score(truth == label, p[:, label])
        area, bound = auroc(sums)[label], bounds[label]
        assert area is not None
        assert bound is not None
        assert bound < 0.005
        assert abs(area - exact) <= bound + 1e-12
        # On scores rounded to their bin both are exact.
        assert area == pytest.approx(reference.roc_auc_score(truth == label, bins[:, label]), abs=1e-12)
        precision = auprc(sums)[label]
        assert precision == pytest.approx(
            reference.average_precision_score(truth == label, bins[:, label]), abs=1e-12
        )
        assert precision == pytest.approx(
            reference.average_precision_score(truth == label, p[:, label]), abs=0.01
        )


def test_macro_ranking_is_scikit_learns_one_vs_rest() -> None:
    logits, truth = sample(3000, 5, 1)
    found = np.mean([value for value in auroc(score_sums(logits, truth)) if value is not None])
    exact = reference.roc_auc_score(truth, probabilities(logits), multi_class="ovr", average="macro")
    assert found == pytest.approx(exact, abs=1e-4)


def test_weights_are_scikit_learns_sample_weights() -> None:
    logits, truth = sample(800, 5, 2)
    weights = np.array([0.1, 2.0, 1.0, 0.5, 4.0])
    sums, bins = score_sums(logits, truth, weights), predictions(logits, truth).bins
    for label in range(5):
        given_weights = {"sample_weight": weights[truth]}
        binary = truth == label
        assert auroc(sums)[label] == pytest.approx(
            reference.roc_auc_score(binary, bins[:, label], **given_weights)
        )
        assert auprc(sums)[label] == pytest.approx(
            reference.average_precision_score(binary, bins[:, label], **given_weights)
        )
    p = probabilities(logits)
    expected = reference.log_loss(truth, p, sample_weight=weights[truth])
    assert sums.nll / sums.mass == pytest.approx(expected)


def test_hand_worked_ranking() -> None:
    # Probability of class 1: 0.9, 0.8, 0.3, 0.2 for labels 1, 0, 1, 0; three of four pairs are in order.
    p = np.array([0.9, 0.8, 0.3, 0.2])
    sums = score_sums(np.log(np.stack([1 - p, p], axis=1)), np.array([1, 0, 1, 0]))
    assert auroc(sums) == [0.75, 0.75]
    assert auprc(sums)[1] == pytest.approx((1.0 + 2 / 3) / 2)
    assert auroc_error(sums) == [0.0, 0.0]


def test_a_model_that_knows_nothing_ranks_like_chance() -> None:
    sums = score_sums(np.zeros((6, 3)), np.array([0, 0, 0, 1, 1, 2]))
    assert auroc(sums) == [0.5, 0.5, 0.5]
    assert auprc(sums) == pytest.approx([0.5, 1 / 3, 1 / 6])
    assert auroc_error(sums) == [0.5, 0.5, 0.5]


def test_losses_agree_with_scikit_learn() -> None:
    logits, truth = sample(500, 6, 3, 2.0)
    sums, p = score_sums(logits, truth), probabilities(logits)
    assert sums.nll / 500 == pytest.approx(reference.log_loss(truth, p, labels=range(6)))
    one_hot = np.eye(6)[truth]
    assert sums.brier / 500 == pytest.approx(6 * reference.mean_squared_error(one_hot, p))
    binary = score_sums(logits[:, :2], truth % 2)
    expected = reference.brier_score_loss(truth % 2, probabilities(logits[:, :2])[:, 1])
    assert binary.brier / 500 == pytest.approx(2 * expected)


def test_hand_worked_losses() -> None:
    sums = score_sums(np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])), np.array([0, 1]))
    assert sums.nll == pytest.approx(math.log(2) + math.log(5))
    assert sums.brier == pytest.approx((0.25 + 0.0625 * 2) + (0.01 + 0.64 + 0.49))


def equal_mass_ece(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int) -> float:
    """Sort the samples by confidence and cut them into bins of equally many."""
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, bins)
    return float(sum(abs((right[part] - confidence[part]).sum()) for part in parts) / len(order))


@pytest.mark.parametrize(("n", "scale"), [(360, 1.0), (15, 1.0), (3000, 5.0), (1500, 0.3)])
def test_calibration_error_is_that_of_sorted_samples_within_the_bound(n: int, scale: float) -> None:
    logits, truth = sample(n, 4, n + 1, scale)
    sums, p = score_sums(logits, truth), probabilities(logits)
    exact = equal_mass_ece(p.max(axis=1), p.argmax(axis=1) == truth, 15)
    found, bound = ece(sums), ece_error(sums)
    assert found is not None
    assert abs(found - exact) <= bound + 1e-9
    assert bound <= 0.2


def test_hand_worked_calibration() -> None:
    # Two bins of two: confidences 0.6, 0.7 with one right, 0.8, 0.9 with two right.
    p = np.array([0.6, 0.7, 0.8, 0.9])
    sums = score_sums(np.log(np.stack([p, 1 - p], axis=1)), np.array([0, 1, 0, 0]))
    assert ece(sums, bins=2) == pytest.approx((abs(1 - 1.3) + abs(2 - 1.7)) / 4)
    assert ece(sums, bins=1) == pytest.approx(0.0, abs=1e-12)
    assert ece(sums, bins=4) == pytest.approx((0.4 + 0.7 + 0.2 + 0.1) / 4)


def test_a_bin_that_straddles_an_edge_is_divided() -> None:
    # Four equal confidences of 0.75 with two right: whatever is cut, every bin is half right.
    sums = score_sums(np.log(np.array([[0.75, 0.25]] * 4)), np.array([0, 0, 1, 1]))
    for bins in (1, 2, 3, 15):
        assert ece(sums, bins=bins) == pytest.approx(0.25)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([None, [0.5, 2.0, 0.0]]))
def test_sums_over_clients_are_those_of_the_pooled_set(
    seed: int, clients: int, given_weights: list[float] | None
) -> None:
    logits, truth = sample(60, 3, seed)
    weights = None if given_weights is None else np.array(given_weights)
    owner = stream(seed, "owner").integers(0, clients, 60)
    parts = [
        ScoreSums.of(predictions(logits[owner == client], truth[owner == client]), weights)
        for client in range(clients)
        if (owner == client).any()
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    pooled = score_sums(logits, truth, weights)
    assert auroc(total) == pytest.approx(auroc(pooled))
    assert auprc(total) == pytest.approx(auprc(pooled))
    assert ece(total) == pytest.approx(ece(pooled))
    assert (total.nll, total.brier) == pytest.approx((pooled.nll, pooled.brier))


def test_chunks_do_not_show() -> None:
    logits, truth = sample(101, 3, 5)
    whole = score_sums(logits, truth)
    parts = score_sums(logits, truth, rows=10)
    assert np.array_equal(whole.positive, parts.positive)
    assert np.array_equal(whole.everyone, parts.everyone)
    assert parts.nll == pytest.approx(whole.nll)


def test_a_class_without_samples_or_without_others_has_no_ranking() -> None:
    logits, truth = sample(20, 2, 6)
    sums = score_sums(np.pad(logits, ((0, 0), (0, 1))), truth)
    assert auroc(sums)[2] is None
    assert auprc(sums)[2] is None
    assert auroc(score_sums(logits, np.zeros(20, np.int64))) == [None, None]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_give_no_numbers(bad: float) -> None:
    logits, truth = sample(20, 3, 7)
    logits[3, 1] = bad
    sums = score_sums(logits, truth)
    assert not sums.defined
    assert auroc(sums) == auprc(sums) == [None] * 3
    assert ece(sums) is None


@pytest.mark.parametrize("size", [1e4, 3e38])
def test_extreme_logits_are_finite_and_ranked(size: float) -> None:
    logits = np.array([[size, 0, 0], [0, size, 0], [0, 0, size], [size, 0, 0]], np.float32)
    sums = score_sums(logits, np.array([0, 1, 2, 0]))
    assert auroc(sums) == [1.0, 1.0, 1.0]
    assert ece(sums) == pytest.approx(0.0)
    assert sums.nll == 0.0


def test_small_probabilities_are_told_apart() -> None:
    # In bins of probability all of these would be one bin.
    rare = np.array([1e-9, 2e-9, 4e-9, 8e-9])
    logits = np.log(np.stack([1 - rare, rare], axis=1))
    assert auroc(score_sums(logits, np.array([0, 0, 1, 1])))[1] == 1.0


def test_different_label_sets_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="3 and 2 classes"):
        score_sums(np.zeros((1, 3)), np.array([0])) + score_sums(np.zeros((1, 2)), np.array([0]))
