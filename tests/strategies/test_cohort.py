"""Cohort sampling is seeded, exact and does not list a large population."""

from __future__ import annotations

import pytest

from strategies.cohort import CohortSampler
from strategies.fedavg import FedAvg
from tests.strategies.replies import ask


def test_the_same_seed_and_round_give_the_same_cohort():
    population = range(2, 102)
    sampler = CohortSampler(seed=3, fraction=0.1)
    assert sampler.sample(5, population) == CohortSampler(seed=3, fraction=0.1).sample(5, population)
    assert sampler.sample(5, population) != sampler.sample(6, population)
    assert sampler.sample(5, population) != CohortSampler(seed=4, fraction=0.1).sample(5, population)


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 10), (0.01, 1), (1.0, 20)])
def test_fraction(fraction, expected):
    cohort = CohortSampler(0, fraction).sample(1, range(20))
    assert len(cohort) == len(set(cohort)) == expected
    assert cohort == sorted(cohort)


def test_a_million_clients_and_a_size():
    cohort = CohortSampler(0, None, 100).sample(1, range(10**6))
    assert len(set(cohort)) == 100
    assert max(cohort) > 500_000


def test_every_client_is_asked_equally_often():
    sampler = CohortSampler(0, 0.5)
    asked = [client for server_round in range(400) for client in sampler.sample(server_round, range(10))]
    counts = [asked.count(client) for client in range(10)]
    assert sum(counts) == 2000
    assert min(counts) > 150
    assert max(counts) < 250


def test_too_few_clients_is_an_error():
    with pytest.raises(ValueError, match="30 clients was asked of 20"):
        CohortSampler(0, None, 30).sample(1, range(20))
    with pytest.raises(ValueError, match="exactly one"):
        CohortSampler(0, 0.5, 3)


def test_a_rule_of_its_own_samples_with_its_sampler():
    rule = FedAvg()
    rule.sampler = CohortSampler(0, None, 4)
    asked = [message.metadata.dst_node_id for message in ask(rule, nodes=range(2, 22))]
    assert asked == CohortSampler(0, None, 4).sample(1, list(range(2, 22)))
