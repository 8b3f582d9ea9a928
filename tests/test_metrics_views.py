"""The test object of a round: as the test set is, with the natural prior, with equal classes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedbal.groups import class_groups
from fedbal.metrics import Confusion
from fedbal.scores import predictions
from fedbal.seeding import stream
from fedbal.views import global_numbers, reweighted

reference = pytest.importorskip("sklearn.metrics")


def scored(counts):
    draw = stream(0, "views-test")
    truth = np.repeat(np.arange(len(counts)), counts)
    logits = draw.normal(size=(len(truth), len(counts))).astype(np.float32)
    logits[np.arange(len(truth)), truth] += 1.0
    return Confusion.of(truth, logits.argmax(1), len(counts)), logits, truth


def test_balanced_test_set_of_skewed_training_data_gets_the_natural_view_only() -> None:
    numbers = global_numbers(*scored([40, 40, 40]), class_groups([900, 90, 10]))
    assert numbers["balanced"] is None
    natural = numbers["natural"]
    assert natural["prior"] == pytest.approx([0.9, 0.09, 0.01])
    assert natural["accuracy"] == pytest.approx(np.dot([0.9, 0.09, 0.01], numbers["per_class_recall"]))
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers


def test_natural_test_set_gets_the_balanced_view_only() -> None:
    numbers = global_numbers(*scored([180, 18, 2]), class_groups([900, 90, 10]))
    assert numbers["natural"] is None
    assert numbers["balanced"]["accuracy"] == pytest.approx(numbers["balanced_accuracy"])


def test_alike_shares_give_neither() -> None:
    numbers = global_numbers(*scored([50, 50, 51]), class_groups([500, 500, 500]))
    assert numbers["natural"] is numbers["balanced"] is None


def test_a_view_is_what_scikit_learn_says_of_reweighted_samples() -> None:
    confusion, logits, truth = scored([60, 30, 10])
    prior = np.array([1.0, 2.0, 7.0])
    view = reweighted(confusion, logits, truth, prior)
    assert view is not None
    weights = (prior / prior.sum() / np.array([0.6, 0.3, 0.1]))[truth]
    predicted, made = logits.argmax(1), predictions(logits, truth)
    weighted = {"sample_weight": weights}
    assert view["accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted, **weighted))
    assert view["macro_f1"] == pytest.approx(
        reference.f1_score(truth, predicted, average="macro", **weighted)
    )
    precision = reference.precision_score(truth, predicted, average=None, **weighted)
    assert view["per_class_precision"] == pytest.approx(precision)
    areas = [reference.roc_auc_score(truth == c, made.bins[:, c], **weighted) for c in range(3)]
    assert view["auroc"] == pytest.approx(np.mean(areas))
    areas = [reference.average_precision_score(truth == c, made.bins[:, c], **weighted) for c in range(3)]
    assert view["auprc"] == pytest.approx(np.mean(areas))
    assert view["nll"] == pytest.approx(np.average(made.nll, weights=weights))
    assert view["brier"] == pytest.approx(np.average(made.brier, weights=weights))
    assert 0 < view["ece"] < 1


def test_a_view_is_what_a_test_set_with_these_shares_gives() -> None:
    # Every sample of class 1 three times over is the same as weighing the class three times.
    confusion, logits, truth = scored([30, 30])
    more = np.concatenate([np.arange(60), np.flatnonzero(truth == 1), np.flatnonzero(truth == 1)])
    bigger = Confusion.of(truth[more], logits[more].argmax(1), 2)
    expected = global_numbers(bigger, logits[more], truth[more], class_groups([1, 3]))
    view = reweighted(confusion, logits, truth, np.array([1.0, 3.0]))
    assert view is not None
    for key in ("accuracy", "macro_f1", "per_class_precision", "auroc", "auprc", "nll", "brier", "ece"):
        assert view[key] == pytest.approx(expected[key]), key


def test_a_class_without_a_test_sample_is_left_out_of_the_prior() -> None:
    confusion, logits, truth = scored([20, 20, 0])
    view = reweighted(confusion, logits, truth, np.array([0.3, 0.1, 0.6]))
    assert view is not None
    assert view["prior"] == pytest.approx([0.75, 0.25, 0.0])
    assert reweighted(confusion, logits, truth, np.array([0.0, 0.0, 1.0])) is None


def test_no_test_sample_at_all() -> None:
    empty = np.empty((0, 3), np.float32)
    numbers = global_numbers(Confusion.empty(3), empty, np.empty(0, np.int64), class_groups([5, 5, 5]))
    assert numbers["samples"] == 0
    assert numbers["per_class_auroc"] == [None] * 3
    for key in ("accuracy", "auroc", "auprc", "nll", "brier", "ece", "many", "natural", "balanced"):
        assert numbers[key] is None, key
