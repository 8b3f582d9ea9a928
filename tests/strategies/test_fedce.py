"""FedCE against worked numbers of both releases' arithmetic, and its invariants."""

from __future__ import annotations

import numpy as np
import pytest

from strategies.fedce import contribution_weights, leave_one_out_cosines

FIRST = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 2]])
SECOND = np.array([[0.5, 0.5, 0], [0.6, 0.4, 0.1], [-0.2, 0.1, 1]])
SCORES = [0.60, 0.65, 0.80]
UNIFORM = np.full(3, 1 / 3)


def test_round_zero():
    cosines = leave_one_out_cosines(FIRST, UNIFORM)
    np.testing.assert_allclose(cosines, [0.35777088, 0.35777088, 0], atol=1e-8)
    plus = contribution_weights(cosines, [1, 1, 1], "plus")
    np.testing.assert_allclose(plus, [0.30723153, 0.30723153, 0.38553694], atol=1e-8)
    np.testing.assert_allclose(plus @ FIRST, [0.55301675, 0.18433892, 0.77107388], atol=1e-7)
    times = contribution_weights(cosines, [1, 1, 1], "times")
    np.testing.assert_allclose(times, [0.28112973, 0.28112973, 0.43774055], atol=1e-8)


@pytest.mark.parametrize(
    ("mode", "updated_prior", "expected"),
    [
        ("plus", True, [0.28642591, 0.28804624, 0.42552785]),
        ("plus", False, [0.28193907, 0.28307333, 0.43498760]),
        ("times", True, [0.24564396, 0.24732685, 0.50702919]),
        ("times", False, [0.22969670, 0.22854007, 0.54176323]),
    ],
)
def test_round_one(mode, updated_prior, expected):
    first = leave_one_out_cosines(FIRST, UNIFORM)
    prior = contribution_weights(first, [1, 1, 1], mode) if updated_prior else UNIFORM
    second = leave_one_out_cosines(SECOND, prior)
    if mode == "plus" and updated_prior:
        np.testing.assert_allclose(second, [0.41375617, 0.50649199, -0.02054843], atol=1e-8)
    weights = contribution_weights((first + second) / 2, SCORES, mode)
    np.testing.assert_allclose(weights, expected, atol=1e-8)


@pytest.mark.parametrize("mode", ["plus", "times"])
def test_identical_updates_and_equal_scores_are_uniform(mode):
    cosines = leave_one_out_cosines(np.ones((4, 5)), np.full(4, 0.25))
    np.testing.assert_allclose(contribution_weights(cosines, np.ones(4), mode), 0.25)


def test_scaling_one_update_keeps_its_own_cosine():
    scaled = FIRST * np.array([[5.0], [1], [1]])
    plain, moved = leave_one_out_cosines(FIRST, UNIFORM), leave_one_out_cosines(scaled, UNIFORM)
    assert moved[0] == pytest.approx(plain[0])
    assert moved[1] != pytest.approx(plain[1])


def test_two_clients_share_one_cosine_and_only_scores_decide():
    cosines = leave_one_out_cosines([[1, 2], [3, -1]], [0.9, 0.1])
    assert cosines[0] == pytest.approx(cosines[1])
    weights = contribution_weights(cosines, [0.2, 0.6], "times")
    np.testing.assert_allclose(weights, [0.25, 0.75])


def test_zero_updates_have_cosine_zero_and_opposite_ones_get_most():
    np.testing.assert_array_equal(leave_one_out_cosines(np.zeros((3, 2)), UNIFORM), 0)
    direction = contribution_weights([-1.0, 0.0], [1, 1], "times")
    assert direction[0] == pytest.approx(2 * direction[1])


def test_equal_terms_drop_out():
    scores = np.array([0.1, 0.3, 0.6])
    np.testing.assert_allclose(contribution_weights([0.2] * 3, scores, "times"), scores)
    np.testing.assert_allclose(contribution_weights([0.2] * 3, scores, "plus"), (scores + 1 / 3) / 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: leave_one_out_cosines([[1, np.nan]], [1]),
        lambda: leave_one_out_cosines([1, 2], [1]),
        lambda: leave_one_out_cosines([[1, 2]], [-1]),
        lambda: contribution_weights([0.1], [0.2, 0.3]),
        lambda: contribution_weights([0.1], [np.inf]),
        lambda: contribution_weights([0.1], [0.2], "minus"),
    ],
)
def test_wrong_input_is_refused(call):
    with pytest.raises(ValueError, match=r"need|must"):
        call()
