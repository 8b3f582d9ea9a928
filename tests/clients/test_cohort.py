"""A chunk of clients: whose failure is whose, and what an engine is."""

from __future__ import annotations

import pytest
import torch

from clients import cohort
from clients.cohort import train_alone, train_cohort
from clients.engine import LOOP, Engine
from clients.jobs import prepare
from clients.memory import Memory
from clients.standard import Standard
from tests.clients.cohorts import distance, members, message, trainer
from tests.clients.test_vectorized import answers


class Failing(Standard):
    """Raises at a client whose labels are all the same in a batch, which only shows during training."""

    def loss(self, forward, params, batch, frozen):
        if torch.is_tensor(batch.y) and not torch._C._functorch.is_batchedtensor(batch.y):
            if bool((batch.y == 3).all()):
                raise ArithmeticError("all the same")
            return super().loss(forward, params, batch, frozen)
        raise NotImplementedError("not at once")


def jobs_of(made, data):
    from flwr.app import RecordDict

    return [prepare(made, one, message(made, 1), RecordDict()) for one in data]


def test_one_clients_failure_is_its_own():
    made, data = trainer(), members()
    data[3].train.pool.y[data[3].train.rows] = 3
    object.__setattr__(made, "update", Failing(made.update.criterion))
    results = train_cohort(made, jobs_of(made, data), Engine("vectorized", 7))
    assert [isinstance(result, ArithmeticError) for result in results] == [i == 3 for i in range(7)]
    jobs = jobs_of(made, data)
    for job, result in zip(jobs, results, strict=True):
        if not isinstance(result, Exception):
            tensors, loss = train_alone(made, job)
            assert loss == result[1]
            assert all(torch.equal(tensors[name], result[0][name]) for name in tensors)


def test_a_failed_attempt_at_once_is_told():
    made, data, memory = trainer(), members(), Memory()
    memory.train(made, jobs_of(made, data), Engine("vectorized", 7))
    assert memory.parted is None
    object.__setattr__(made, "update", Failing(made.update.criterion))
    memory.train(made, jobs_of(made, data), Engine("vectorized", 7))
    assert memory.parted is not None
    assert memory.parted.endswith("failed: not at once")


def test_steps_are_counted_once_after_a_failed_attempt_at_once():
    made, data = trainer(), members()
    object.__setattr__(made, "update", Failing(made.update.criterion))
    jobs = jobs_of(made, data)
    train_cohort(made, jobs, Engine("vectorized", 7))
    assert [job.local.progress.steps for job in jobs] == [job.steps for job in jobs]


def test_too_little_memory_is_not_hidden(monkeypatch):
    made = trainer()

    def full(*_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(cohort, "_together", full)
    with pytest.raises(torch.OutOfMemoryError):
        train_cohort(made, jobs_of(made, members()), Engine("vectorized", 7))


def test_an_empty_chunk_and_the_loop():
    made = trainer()
    assert train_cohort(made, [], Engine("vectorized", 7)) == []
    data = members()
    looped = answers(made, data, lambda t, jobs: train_cohort(t, jobs, LOOP), 1)
    single = answers(made, data, lambda t, jobs: [train_alone(t, job) for job in jobs], 1)
    assert all(distance(one, other) == 0.0 for one, other in zip(looped, single, strict=True))


def test_a_chunk_holds_somebody():
    with pytest.raises(ValueError, match="got 0"):
        Engine("vectorized", 0)
