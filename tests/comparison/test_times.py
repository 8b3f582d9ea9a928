"""Times to a target, by hand."""

from __future__ import annotations

import pytest

from fedbal.comparison.outcomes import read
from fedbal.comparison.records import Outcome
from fedbal.comparison.times import default_target, times_to_target
from tests.comparison.runs import cell, made_up, protocol

DECLARED = protocol("fedavg", "fast", "local_only")


@pytest.fixture
def records(tmp_path):
    curves = {
        ("fedavg", 0): ([0.1, 0.2, 0.4, 0.5], 100),
        ("fedavg", 1): ([0.1, 0.2, 0.3, 0.3], 100),
        ("fast", 0): ([0.5, 0.6, 0.7, 0.8], 300),
        ("fast", 1): ([0.5, 0.4, 0.3, 0.8], 300),
        ("local_only", 0): ([0.9] * 4, 0),
    }
    cells = [
        cell(label, seed, made_up(tmp_path / f"{label}{seed}", values, up=up, down=0))
        for (label, seed), (values, up) in curves.items()
    ]
    return read(DECLARED, cells)


def test_the_default_target_is_nine_tenths_of_the_best_rule(records):
    assert default_target(DECLARED, records, "") == pytest.approx(0.72)
    lower = protocol("fedavg", "fast", primary=Outcome("test.nll", higher=False))
    assert default_target(lower, records, "") == pytest.approx(0.2 / 0.9)
    assert default_target(DECLARED, [], "") is None


def test_the_first_evaluated_round_at_the_target_counts(records):
    found = {(one.method, one.axis): one for one in times_to_target(DECLARED, records, 0.4)}
    assert {method for method, _ in found} == {"fedavg", "fast"}
    slow, fast = found["fedavg", "rounds"], found["fast", "rounds"]
    assert (slow.times.tolist(), slow.reached.tolist(), slow.horizon) == ([3.0, 4.0], [True, False], 4.0)
    assert (fast.times.tolist(), fast.reached.tolist()) == ([1.0, 1.0], [True, True])
    assert slow.seeds.tolist() == [0, 1]


def test_all_runs_are_watched_for_the_same_amount(records):
    found = {(one.method, one.axis): one for one in times_to_target(DECLARED, records, 0.8)}
    dear = found["fast", "bytes"]
    # Rounds of three times the bytes: FedAvg's whole run is four thirds of a round of it.
    assert dear.horizon == 400.0
    assert (dear.times.tolist(), dear.reached.tolist()) == ([400.0, 400.0], [False, False])
    budget = protocol("fedavg", "fast", budget=("bytes", 1200.0))
    (wide,) = (one for one in times_to_target(budget, records, 0.8, ["bytes"]) if one.method == "fast")
    assert wide.horizon == 1200.0
    assert (wide.times.tolist(), wide.reached.tolist()) == ([1200.0, 1200.0], [True, True])


def test_a_diverged_run_never_reaches_a_target(tmp_path):
    directory = made_up(tmp_path / "run", [0.9, 0.9], status="diverged")
    declared = protocol("fedavg")
    (found,) = times_to_target(declared, read(declared, [cell("fedavg", 0, directory)]), 0.2, ["rounds"])
    assert (found.times.tolist(), found.reached.tolist()) == ([2.0], [False])


def test_less_may_be_better(records):
    declared = protocol("fedavg", "fast", primary=Outcome("test.nll", higher=False))
    found = {one.method: one for one in times_to_target(declared, records, 0.6, ["rounds"])}
    assert found["fedavg"].times.tolist() == [3.0, 4.0]
    assert found["fast"].times.tolist() == [1.0, 1.0]
