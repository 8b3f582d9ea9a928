"""Many, medium and few: the rules, their bounds, and what is stored beside the numbers."""

from __future__ import annotations

import json

import pytest

from fedbal.errors import UsageError
from fedbal.groups import class_groups
from tests.scenarios import digits

CIFAR10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_worked_example_with_both_bounds_in_the_middle_group() -> None:
    groups = class_groups([500, 101, 100, 20, 19])
    assert groups.members == {"many": [0, 1], "medium": [2, 3], "few": [4]}
    recall = groups.recall([1.0, 0.75, 0.5, 0.25, 0.25])
    assert recall == {"many": 0.875, "medium": 0.375, "few": 0.25}
    assert groups.describe() == {
        "rule": "counts",
        "bounds": [20, 100],
        "many": [0, 1],
        "medium": [2, 3],
        "few": [4],
        "samples": {"many": 601, "medium": 120, "few": 19},
    }
    assert json.loads(json.dumps(groups.describe())) == groups.describe()


def test_counts_tell_nothing_where_no_class_is_small_so_shares_cut() -> None:
    groups = class_groups(CIFAR10_LT)
    assert groups.rule == "share"
    # 40.3, 64.5, 78.9 | 87.6, 92.8, 95.9 | the rest: percent of 12 406 up to and including each class.
    assert groups.members == {"many": [0, 1, 2], "medium": [3, 4, 5], "few": [6, 7, 8, 9]}
    assert class_groups(CIFAR10_LT, "counts").members["few"] == []
    assert class_groups(CIFAR10_LT, "counts").recall([0.5] * 10)["few"] is None


def test_shares_follow_size_not_class_order_and_ties_follow_the_index() -> None:
    assert class_groups([1, 90, 5, 4], "share").members == {"many": [1], "medium": [2], "few": [0, 3]}
    equal = class_groups([25, 25, 25, 25], "share")
    assert equal.members == {"many": [0, 1, 2], "medium": [3], "few": []}


def test_a_group_without_a_test_class_has_no_recall() -> None:
    groups = class_groups([500, 50, 0])
    assert groups.members == {"many": [0], "medium": [1], "few": [2]}
    assert groups.recall([0.5, None, None]) == {"many": 0.5, "medium": None, "few": None}


def test_other_bounds() -> None:
    assert class_groups([9, 8, 7, 1], thresholds=(5, 8)).members == {
        "many": [0],
        "medium": [1, 2],
        "few": [3],
    }
    assert class_groups([60, 30, 10], "share", shares=(50.0, 80.0)).members == {
        "many": [0],
        "medium": [1],
        "few": [2],
    }


def test_the_scenario_chooses_the_rule() -> None:
    chosen = digits("evaluation.groups={rule: counts, thresholds: [10, 50]}").evaluation.groups
    assert (chosen.rule, chosen.thresholds, chosen.shares) == ("counts", [10, 50], [75.0, 95.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("evaluation.groups.thresholds=[100, 20]", r"did you mean \[20, 100\]"),
        ("evaluation.groups.shares=[75, 101]", "100"),
        ("evaluation.groups.thresholds=[20]", "thresholds"),
        ("evaluation.groups.rule=median", "auto"),
    ],
)
def test_bad_groups_are_named(change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        digits(change)
