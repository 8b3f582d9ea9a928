"""Post-hoc logit adjustment: worked numbers, and the object beside a run's own test numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fedbal.groups import class_groups
from fedbal.posthoc import adjusted, posthoc_numbers
from fedbal.results import RunReader
from fedbal.simulation import run
from tests.scenarios import digits, sha256

LOGITS = np.array([[2, 0.5, -1], [0.2, -0.4, 1.1], [1, 1.5, 0], [-0.5, 0.3, 0.8]])
COUNTS = (100, 10, 1)
TRUTH = np.array([0, 0, 1, 2])


@pytest.mark.parametrize(("tau", "expected"), [(1.0, [2, 2, 2, 2]), (0.5, [0, 2, 1, 2]), (0.0, [0, 2, 1, 2])])
def test_worked_predictions(tau, expected):
    assert adjusted(LOGITS, COUNTS, tau).argmax(1).tolist() == expected


def test_equal_counts_and_a_common_factor_change_nothing():
    np.testing.assert_array_equal(adjusted(LOGITS, (7, 7, 7)).argmax(1), LOGITS.argmax(1))
    np.testing.assert_allclose(adjusted(LOGITS, COUNTS), adjusted(LOGITS, np.multiply(COUNTS, 5)))


def test_a_class_without_training_samples_is_never_predicted():
    assert 2 not in adjusted(LOGITS, (100, 10, 0)).argmax(1)


def test_the_numbers_are_those_of_the_adjusted_predictions():
    numbers = posthoc_numbers(LOGITS, TRUTH, class_groups(COUNTS), 1.0)
    assert numbers["tau"] == 1.0
    assert numbers["accuracy"] == 0.25
    assert numbers["per_class_recall"] == [0.0, 0.0, 1.0]
    assert "loss" not in numbers


def test_a_run_reports_it_beside_its_own_numbers(tmp_path):
    run(digits("rounds=8"), tmp_path / "plain")
    run(digits("rounds=8", "evaluation.posthoc={tau: 1.0}"), tmp_path / "posthoc")
    one, two = (RunReader(tmp_path / name) for name in ("plain", "posthoc"))
    plain, both = one.rounds()[-1]["test"], two.rounds()[-1]["test"]
    adjustment = both.pop("posthoc")
    assert plain == both
    assert adjustment["balanced_accuracy"] > both["balanced_accuracy"]
    assert two.summary()["last_10_percent"]["posthoc"]["tau"] == 1.0
    assert sha256(tmp_path / "plain" / "model.safetensors") == sha256(
        tmp_path / "posthoc" / "model.safetensors"
    )
