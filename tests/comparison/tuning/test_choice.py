"""Which trial is chosen, and the expected best of fewer."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from fedbal.comparison.tuning.choice import best_of, choose
from fedbal.comparison.tuning.records import Trial

SCORES = [0.3, 0.9, 0.5, 0.5, 0.7, 0.1]


def trial(number, score, status="finished", distance=0.0):
    return Trial(number, {}, (), status, score, distance, "")


@pytest.mark.parametrize(("higher", "best"), [(True, max), (False, min)])
def test_best_of_k_is_the_mean_over_all_draws(higher, best):
    expected = [
        np.mean([best(drawn) for drawn in combinations(SCORES, k)]) for k in range(1, len(SCORES) + 1)
    ]
    assert best_of(SCORES, higher=higher) == pytest.approx(expected)


def test_best_of_unknown_scores_is_unknown():
    assert best_of([0.5, None], higher=True) == (None, None)


def test_the_best_finished_trial_is_chosen():
    trials = [
        trial(0, 0.5),
        trial(1, 0.9, "diverged"),
        trial(2, 0.8),
        trial(3, None, "failed"),
        trial(4, 0.2),
    ]
    assert choose(trials, higher=True) == 2
    assert choose(trials, higher=False) == 4


def test_of_equal_trials_the_nearest_to_the_default_is_chosen():
    assert choose([trial(0, 0.1), trial(1, 0.8, distance=0.4), trial(2, 0.8, distance=0.3)], higher=True) == 2
    assert choose([trial(0, 0.8), trial(1, 0.8, distance=0.4)], higher=True) == 0


def test_without_a_finished_trial_the_method_stays_as_declared():
    assert choose([trial(0, 0.1, "diverged"), trial(1, 0.2, "diverged")], higher=True) == 0
