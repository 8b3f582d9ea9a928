"""Windows, budgets and chance levels against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedbal.comparison.chance import chance_level
from fedbal.comparison.history import Series, history
from fedbal.comparison.windows import first_round, last_round, mean
from tests.comparison.runs import made_up


def series(*values, start=1):
    return Series(np.arange(start, start + len(values)), np.array(values, float))


@pytest.mark.parametrize(
    ("last", "share", "first"),
    [(20, 0.1, 19), (10, 0.1, 10), (3, 0.1, 3), (11, 0.1, 10), (30, 0.1, 28), (20, 1.0, 1), (7, 0.0, 7)],
)
def test_the_window_is_the_last_share_rounded_up(last, share, first):
    assert first_round(last, share) == first


def test_the_mean_is_over_the_window_alone():
    values = series(*range(1, 21))
    assert mean(values, 20, 0.1) == 19.5
    assert mean(values, 10, 0.1) == 10.0
    assert mean(values, 20, 0.25) == 18.0
    assert mean(values, 20, 0.0) == 20.0


def test_rounds_without_the_metric_do_not_count_and_the_initial_model_never_does():
    nan = math.nan
    assert mean(series(0.9, 1.0, nan, 3.0, start=0), 3, 1.0) == 2.0
    assert mean(series(0.9, 1.0, nan, nan, start=0), 3, 0.1) == 1.0
    assert mean(series(0.9, start=0), 3, 1.0) is None
    assert mean(series(nan, nan), 2, 1.0) is None
    assert mean(None, 2, 1.0) is None


def test_a_budget_ends_at_the_last_round_within_it(tmp_path):
    run = history(made_up(tmp_path / "run", [0.1, 0.2, 0.3, 0.4], up=60, down=40, seconds=2.0))
    assert last_round(run, None) == 4
    assert last_round(run, ("rounds", 3)) == 3
    assert last_round(run, ("rounds", 9)) == 4
    assert last_round(run, ("bytes", 399.0)) == 3
    assert last_round(run, ("bytes", 400.0)) == 4
    assert last_round(run, ("client_seconds", 5.9)) == 2
    assert last_round(run, ("client_seconds", 1.9)) == 0
    with pytest.raises(ValueError, match="a budget is in rounds, bytes, client_seconds"):
        last_round(run, ("hours", 1.0))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("test.accuracy", 0.25),
        ("test.balanced_accuracy", 0.25),
        ("personal.pooled_balanced_accuracy", 0.25),
        ("fairness.worst_10_percent", 0.25),
        ("test.nll", math.log(4)),
        ("test.brier", 0.75),
        ("test.auroc", 0.5),
        ("test.ece", None),
        ("fairness.std", None),
    ],
)
def test_what_guessing_gives_with_four_classes(place, expected):
    assert chance_level(place, 4) == expected


def test_a_guessing_model_has_these_values():
    from fedbal.metrics import Confusion, classification_report

    counts = np.full((4, 4), 25)
    report = classification_report(Confusion(counts, 400 * math.log(4)))
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "worst_class_recall", "g_mean", "loss"):
        assert report[name] == pytest.approx(chance_level(f"test.{name}", 4)), name


def test_a_useless_mask_overlaps_with_nothing():
    assert chance_level("test.dice", 3, masks=True) == 0.0
    assert chance_level("fairness.worst_10_percent", 3, masks=True) == 0.0
    assert chance_level("test.loss", 3, masks=True) == math.log(3)
    assert chance_level("test.accuracy", 3, masks=True) is None
