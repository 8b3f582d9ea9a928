"""Placement and the number of workers."""

from __future__ import annotations

import functools
import operator

import pytest

from fedbal.errors import UsageError
from fedbal.grid.placement import Costs, longest_first
from fedbal.grid.resources import fit_workers, room


def test_longest_first_balances_unequal_work():
    placed = longest_first([8, 7, 6, 5, 4], 2)
    assert sorted(functools.reduce(operator.iadd, placed, [])) == [0, 1, 2, 3, 4]
    loads = [sum([8, 7, 6, 5, 4][task] for task in tasks) for tasks in placed]
    assert max(loads) <= 17


def test_every_task_is_placed_once_and_deterministically():
    costs = [1.0] * 7
    assert longest_first(costs, 3) == longest_first(costs, 3)
    assert sorted(functools.reduce(operator.iadd, longest_first(costs, 3), [])) == list(range(7))
    assert longest_first([], 2) == [[], []]


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "cohort", "available", "expected"),
    [
        (None, 1, 0, 10, {"CPU": 4}, 4),
        (None, 1, 0, 2, {"CPU": 4}, 2),
        (None, 0.5, 0, 10, {"CPU": 2}, 4),
        (None, 1, 0.25, 10, {"CPU": 16, "GPU": 1}, 4),
        (None, 0.1, 0, 100, {"CPU": 1}, 10),
        (3, 1, 0, 1, {"CPU": 4}, 3),
    ],
)
def test_as_many_workers_as_fit(workers, cpus, gpus, cohort, available, expected):
    assert fit_workers(workers, cpus, gpus, cohort, available) == expected


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "available", "message"),
    [
        (4, 1, 0, {"CPU": 2}, "set runtime.workers to 2, or runtime.num_cpus to at most 0.5"),
        (None, 8, 0, {"CPU": 2}, "set runtime.num_cpus to at most 2"),
        (None, 1, 1, {"CPU": 2}, "no GPU: set runtime.num_gpus to 0"),
        (8, 1, 0.25, {"CPU": 16, "GPU": 1}, "set runtime.workers to 4, or runtime.num_gpus to at most 0.125"),
    ],
)
def test_what_does_not_fit_is_named(workers, cpus, gpus, available, message):
    with pytest.raises(UsageError, match=message):
        fit_workers(workers, cpus, gpus, 10, available)


def test_costs_follow_what_was_measured():
    costs = Costs([10.0, 20.0, 0.0])
    assert [costs.of(client) for client in range(3)] == [10.0, 20.0, 0.0]
    costs.learn(0, 5.0)
    assert [costs.of(client) for client in range(3)] == [5.0, 10.0, 0.0]
    costs.learn(0, 15.0)
    # Half of the latest rate, 1.5, and half of the mean before it, 0.5.
    assert costs.of(0) == pytest.approx(10.0)
    costs.learn(1, 4.0)
    assert costs.of(1) == pytest.approx(4.0)
    costs.learn(2, 1.0)
    assert costs.of(2) == 0.0


def test_a_slow_client_gets_a_worker_of_its_own_once_it_is_known():
    costs = Costs([4.0, 3.0, 3.0, 2.0])
    assert longest_first([costs.of(client) for client in range(4)], 2) == [[0, 3], [1, 2]]
    for client, seconds in enumerate([4.0, 3.0, 3.0, 20.0]):
        costs.learn(client, seconds)
    assert longest_first([costs.of(client) for client in range(4)], 2) == [[3], [0, 1, 2]]


def test_a_worker_is_on_one_machine():
    assert room([{"CPU": 3.0}, {"CPU": 3.0, "GPU": 1.0}], 2.0, 0.0) == 2
    assert room([{"CPU": 3.0}, {"CPU": 3.0, "GPU": 1.0}], 1.0, 0.5) == 2
    assert room([{"CPU": 0.5}], 1.0, 0.0) == 0
    assert room([], 1.0, 0.0) == 0
