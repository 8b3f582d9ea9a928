"""The client view: worked by hand, and free of the luck of small test sets."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fedbal.fairness import ClientScore, client_spread
from fedbal.metrics import Confusion
from fedbal.seeding import stream


def test_worked_example() -> None:
    rows = [
        ClientScore(100, 90, 0.5),
        ClientScore(50, 25, 1.0),
        ClientScore(40, 28, 2.0),
        ClientScore(10, 1, 3.0),
    ]
    spread = client_spread(rows, min_samples=30)
    assert spread["clients"] == 3
    assert spread["mean"] == pytest.approx((0.9 + 0.5 + 0.7) / 3)
    assert spread["weighted_mean"] == pytest.approx(143 / 190)
    chance = (0.9 * 0.1 / 99 + 0.5 * 0.5 / 49 + 0.7 * 0.3 / 39) / 3
    assert spread["std"] == pytest.approx(math.sqrt(0.04 - chance))
    assert (spread["worst_10_percent"], spread["best_10_percent"]) == (0.5, 0.9)
    assert spread["range"] == pytest.approx(0.4)
    assert spread["pooled_n"] == 200
    assert spread["pooled_accuracy"] == pytest.approx(144 / 200)
    assert spread["pooled_loss"] == pytest.approx((50 + 50 + 80 + 30) / 200)
    assert spread["note"] is None


def test_tenths_are_means_of_the_extreme_clients_whatever_the_order() -> None:
    rows = [ClientScore(100, correct, 0.0) for correct in range(1, 21)]
    spread = client_spread(rows[::-1])
    assert spread["worst_10_percent"] == pytest.approx(0.015)
    assert spread["best_10_percent"] == pytest.approx(0.195)


def test_equal_clients_have_no_spread_beyond_chance() -> None:
    draws = stream(0, "test").binomial(40, 0.7, size=2000)
    rows = [ClientScore(40, int(correct), 1.0) for correct in draws]
    raw = float(np.std(draws / 40))
    corrected = client_spread(rows)["std"]
    assert raw > 0.07
    assert corrected is not None
    assert corrected < 0.02


def test_real_spread_survives_the_correction() -> None:
    draw = stream(1, "test")
    chances = np.clip(draw.normal(0.7, 0.1, size=4000), 0, 1)
    rows = [ClientScore(40, int(draw.binomial(40, p)), 1.0) for p in chances]
    assert client_spread(rows)["std"] == pytest.approx(0.1, abs=0.01)


def test_variance_below_chance_is_floored_at_zero() -> None:
    assert client_spread([ClientScore(40, 20, 1.0)] * 3)["std"] == 0.0


def test_one_client_has_a_mean_but_no_standard_deviation() -> None:
    spread = client_spread([ClientScore(40, 30, 1.0)])
    assert (spread["clients"], spread["mean"], spread["range"], spread["std"]) == (1, 0.75, 0.0, None)


def test_without_a_large_enough_client_only_pooled_numbers_and_a_note() -> None:
    spread = client_spread([ClientScore(29, 20, 1.0), ClientScore(11, 10, 2.0), ClientScore(0, 0, math.nan)])
    assert spread["clients"] == 0
    fields = ["mean", "weighted_mean", "std", "worst_10_percent", "best_10_percent", "range"]
    assert [spread[field] for field in fields] == [None] * 6  # type: ignore[literal-required]
    assert spread["pooled_accuracy"] == 0.75
    assert spread["pooled_loss"] == pytest.approx(51 / 40)
    assert "30 test samples" in str(spread["note"])
    assert "29" in str(spread["note"])


def test_no_client_at_all() -> None:
    spread = client_spread([])
    assert (spread["pooled_n"], spread["pooled_accuracy"], spread["pooled_loss"]) == (0, None, None)
    assert json.loads(json.dumps(spread, allow_nan=False)) == spread


def test_non_finite_loss_is_none() -> None:
    assert client_spread([ClientScore(40, 4, math.inf)] * 2)["pooled_loss"] is None


def test_n_stands_beside_the_numbers_and_confusion_counts_are_pooled() -> None:
    first, second = np.array([[30, 10], [0, 0]]), np.array([[10, 10], [5, 15]])
    rows = [
        ClientScore(40, 30, 1.0, first),
        ClientScore(40, 25, 1.0, second),
        ClientScore(2, 2, 0.0, np.array([[0, 0], [0, 2]])),
    ]
    spread = client_spread(rows)
    assert (spread["clients"], spread["samples"], spread["tenth"]) == (2, 80, 1)
    assert (spread["pooled_clients"], spread["pooled_n"]) == (3, 82)
    # The first client lacks class 1: its balanced accuracy is its recall of class 0.
    assert spread["mean_balanced_accuracy"] == pytest.approx((0.75 + (0.5 + 0.75) / 2) / 2)
    # Summed counts: 40 of 60 and 17 of 22.
    assert spread["pooled_balanced_accuracy"] == pytest.approx((40 / 60 + 17 / 22) / 2)
    assert spread["pooled_macro_f1"] == pytest.approx((80 / 105 + 34 / 59) / 2)


def test_pooled_counts_equal_scikit_learn_on_the_pooled_samples() -> None:
    reference = pytest.importorskip("sklearn.metrics")
    draw = stream(2, "test")
    truth, predicted = draw.integers(0, 4, 200), draw.integers(0, 4, 200)
    parts = np.array_split(np.arange(200), 5)
    rows = [
        ClientScore(
            len(part),
            int((truth[part] == predicted[part]).sum()),
            0.0,
            Confusion.of(truth[part], predicted[part], 4).counts,
        )
        for part in parts
    ]
    spread = client_spread(rows)
    assert spread["pooled_balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(truth, predicted)
    )
    assert spread["pooled_macro_f1"] == pytest.approx(reference.f1_score(truth, predicted, average="macro"))
    each = [reference.balanced_accuracy_score(truth[part], predicted[part]) for part in parts]
    assert spread["mean_balanced_accuracy"] == pytest.approx(np.mean(each))


def test_without_everyones_confusion_counts_there_is_nothing_to_pool() -> None:
    rows = [ClientScore(40, 40, 0.0, np.diag([20, 20])), ClientScore(40, 30, 0.0)]
    spread = client_spread(rows)
    assert spread["pooled_accuracy"] == 0.875
    assert spread["pooled_balanced_accuracy"] is spread["pooled_macro_f1"] is None
    assert spread["mean_balanced_accuracy"] is None
