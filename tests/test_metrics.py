"""The class view: worked by hand, against scikit-learn, and the same whether summed or pooled."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbal.metrics import Confusion, classification_report

TRUTH = np.repeat(np.arange(5), 4)
PREDICTED = np.array([0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 0, 0, 3, 0, 0, 1, 0, 0, 0, 4])


def test_worked_example() -> None:
    report = classification_report(Confusion.of(TRUTH, PREDICTED, 5, loss_sum=30.0))
    assert report["accuracy"] == pytest.approx(0.55)
    assert report["balanced_accuracy"] == pytest.approx(0.55)
    assert report["macro_f1"] == pytest.approx(0.543333, abs=5e-7)
    assert report["per_class_recall"] == [1.0, 0.75, 0.5, 0.25, 0.25]
    assert report["worst_class_recall"] == 0.25
    assert report["loss"] == pytest.approx(1.5)
    assert report["samples"] == 20
    assert report["per_class_precision"] == [pytest.approx(1 / 3), 0.75, 1.0, 1.0, 1.0]
    assert report["g_mean"] == pytest.approx(0.472044, abs=5e-7)
    assert report["never_predicted"] == 0


def test_exactly_the_promised_keys_and_json_types() -> None:
    report = classification_report(Confusion.of([0, 1], [0, 0], 3))
    assert list(report) == [
        "samples",
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "per_class_recall",
        "per_class_precision",
        "worst_class_recall",
        "g_mean",
        "never_predicted",
        "loss",
    ]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_absent_class_has_no_recall_but_counts_in_macro_f1() -> None:
    report = classification_report(Confusion.of([0, 0, 1, 1], [0, 0, 1, 0], 3))
    assert report["per_class_recall"] == [1.0, 0.5, None]
    assert report["balanced_accuracy"] == 0.75
    assert report["worst_class_recall"] == 0.5
    assert report["macro_f1"] == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)


def test_majority_predictor_is_not_flattered() -> None:
    report = classification_report(Confusion.of([0] * 10 + [1] * 2, [0] * 12, 2))
    assert report["accuracy"] == pytest.approx(10 / 12)
    assert report["balanced_accuracy"] == 0.5
    assert report["worst_class_recall"] == 0.0
    assert report["g_mean"] == 0.0
    assert report["never_predicted"] == 1
    assert report["per_class_precision"] == [pytest.approx(10 / 12), None]


def test_no_samples_is_none_everywhere() -> None:
    report = classification_report(Confusion.empty(3))
    assert report.pop("samples") == 0  # type: ignore[misc]
    assert report["per_class_recall"] == report["per_class_precision"] == [None, None, None]
    assert {key: value for key, value in report.items() if not key.startswith("per_class")} == dict.fromkeys(
        [
            "accuracy",
            "balanced_accuracy",
            "macro_f1",
            "worst_class_recall",
            "g_mean",
            "never_predicted",
            "loss",
        ]
    )


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_non_finite_loss_is_none_and_stays_none_after_merging(loss: float) -> None:
    bad = Confusion.of([0], [0], 2, loss_sum=loss)
    report = classification_report(bad + Confusion.of([1], [1], 2, loss_sum=1.0))
    assert report["loss"] is None
    assert report["accuracy"] == 1.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 4)), max_size=60))
def test_sum_over_clients_equals_the_pooled_set(rows: list[tuple[int, int, int]]) -> None:
    truth, predicted, client = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    total = Confusion.empty(4)
    for owner in range(5):
        mine = client == owner
        total = total + Confusion.of(truth[mine], predicted[mine], 4, loss_sum=float(mine.sum()) / 2)
    pooled = Confusion.of(truth, predicted, 4, loss_sum=len(rows) / 2)
    assert total.counts.dtype == np.int64
    assert classification_report(total) == classification_report(pooled)
    assert (total.n, total.correct) == (len(rows), int((truth == predicted).sum()))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=80))
def test_agrees_with_scikit_learn(rows: list[tuple[int, int]]) -> None:
    reference = pytest.importorskip("sklearn.metrics")
    truth, predicted = np.array(rows, dtype=np.int64).T
    report = classification_report(Confusion.of(truth, predicted, 5))
    present = np.unique(truth)
    recalls = reference.recall_score(truth, predicted, labels=present, average=None, zero_division=0)
    assert report["accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert report["balanced_accuracy"] == pytest.approx(recalls.mean())
    assert report["worst_class_recall"] == pytest.approx(recalls.min())
    assert [report["per_class_recall"][label] for label in present] == pytest.approx(recalls)
    assert report["macro_f1"] == pytest.approx(
        reference.f1_score(truth, predicted, labels=range(5), average="macro", zero_division=0)
    )
    called = np.unique(predicted)
    precision = reference.precision_score(truth, predicted, labels=called, average=None, zero_division=0)
    assert [report["per_class_precision"][label] for label in called] == pytest.approx(precision)
    assert report["never_predicted"] == 5 - len(called)
    assert report["g_mean"] == pytest.approx(recalls.prod() ** (1 / len(present)))
    matrix = reference.confusion_matrix(truth, predicted, labels=range(5))
    assert np.array_equal(Confusion.of(truth, predicted, 5).counts, matrix)


@pytest.mark.parametrize(("truth", "predicted"), [([0, 3], [0, 0]), ([0, 1], [0, -1])])
def test_classes_outside_the_label_set_are_refused(truth: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"0 \.\. 2"):
        Confusion.of(truth, predicted, 3)


def test_different_label_sets_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="3 and 1 classes"):
        Confusion.empty(3) + Confusion.empty(1)
