"""Verdicts against hand-worked values."""

from __future__ import annotations

import math

import pytest

from benchmarks.reproduce.study import Claim
from benchmarks.reproduce.verdicts import Paired, judge, paired, verdict


def claim(direction="higher", margin=0.0):
    return Claim("c", "Text.", "source", "s", "a", "b", direction, "accuracy.last10", margin)


def within(low, high):
    return Paired(7, (low + high) / 2, 1.0, low, high, 0, 0, 0)


def test_paired_numbers():
    # Differences 1, 2, 3: mean 2, sd 1; t(2; .975) = 4.302653, divided by sqrt(3).
    found = paired([2.0, 5.0, 8.0], [1.0, 3.0, 5.0])
    assert (found.seeds, found.mean, found.sd) == (3, 2.0, 1.0)
    assert found.low == pytest.approx(2.0 - 4.302653 / math.sqrt(3.0), abs=1e-6)
    assert found.high == pytest.approx(2.0 + 4.302653 / math.sqrt(3.0), abs=1e-6)
    assert (found.positive, found.negative, found.zero) == (3, 0, 0)


def test_signs_are_counted_and_one_pair_is_not_enough():
    found = paired([1.0, 0.0, 2.0, 2.0], [0.0, 1.0, 2.0, 1.0])
    assert (found.positive, found.negative, found.zero) == (2, 1, 1)
    with pytest.raises(ValueError, match="1 pair"):
        paired([1.0], [0.0])


@pytest.mark.parametrize(
    ("direction", "margin", "low", "high", "expected"),
    [
        ("higher", 0.0, 0.1, 0.5, "shown"),
        ("higher", 0.0, -0.1, 0.5, "not shown"),
        ("higher", 0.0, -0.5, -0.1, "opposite"),
        ("higher", 0.4, 0.1, 0.5, "not shown"),
        ("higher", 0.4, -0.5, -0.1, "not shown"),
        ("lower", 0.0, -0.5, -0.1, "shown"),
        ("lower", 0.0, 0.1, 0.5, "opposite"),
        ("lower", 0.0, -0.5, 0.1, "not shown"),
        ("similar", 0.2, -0.1, 0.2, "shown"),
        ("similar", 0.2, -0.1, 0.3, "not shown"),
        ("similar", 0.2, 0.3, 0.4, "opposite"),
        ("similar", 0.2, -0.4, -0.3, "opposite"),
    ],
)
def test_verdict(direction, margin, low, high, expected):
    assert verdict(claim(direction, margin), within(low, high)) == expected


def arm(*values, status="finished"):
    return {
        "seeds": {
            str(seed): {
                "status": status if value is None else "finished",
                "endpoints": {"accuracy.last10": value},
            }
            for seed, value in enumerate(values)
        }
    }


def test_judge_pairs_by_seed_and_says_what_is_missing():
    arms = {"a": arm(0.9, 0.8, None, status="failed"), "b": arm(0.8, 0.6, 0.5)}
    found = judge(claim(), {"s": {"arms": arms}})
    assert found["mean"] == pytest.approx(0.15)
    assert (found["seeds"], found["missing"]) == (2, 1)
    assert found["text"] == "Text."


def test_judge_without_two_pairs():
    arms = {"a": arm(0.9, None, status="diverged"), "b": arm(0.8, 0.6)}
    assert judge(claim(), {"s": {"arms": arms}})["verdict"] == "not run"
    assert judge(claim(), {})["verdict"] == "not run"
