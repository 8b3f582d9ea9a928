"""Rows and draws go to the device once a client, models come back in one copy; nothing else crosses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import RecordDict

from clients.cohort import train_cohort
from clients.data import Pool, Split
from clients.engine import Engine
from clients.jobs import prepare
from clients.records import in_one, to_host
from clients.training import LocalPlan, evaluate
from fedbal.measures import measures_for
from tests.clients.cohorts import CLASSES, members, message, trainer


def test_batches_cut_in_one_go_are_those_cut_one_by_one():
    rng = np.random.default_rng(0)
    pool = Pool(rng.integers(0, 255, (30, 1, 4, 4)).astype(np.uint8), np.arange(30) % 3, divide=255.0)
    assert pool.x.dtype == torch.uint8
    seen = []
    split = Split(pool, rng.permutation(30)[:17], transform=lambda x, rows: seen.append(rows) or x + 1)
    batches = [np.array([3, 1]), np.array([16]), np.array([0, 2, 4])]
    for positions, (x, y) in zip(batches, split.cut(batches), strict=True):
        own_x, own_y = split.batch(positions)
        assert torch.equal(x, own_x)
        assert torch.equal(y, own_y)
        assert np.array_equal(seen[-1], seen[-2])
    assert list(split.cut([])) == []
    assert sum(len(y) for _, y in split.batches(5)) == 17


def test_one_copy_has_the_values_of_many():
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7.0), "c": torch.arange(4.0)[::2]}
    arrays = in_one(list(tensors.values()), list(tensors))
    for name, value in to_host(tensors).items():
        assert arrays[name].shape == value.shape
        assert np.array_equal(arrays[name], value)
        assert arrays[name].base is None or arrays[name].base.nbytes == arrays[name].nbytes


class Crossings:
    """Counts how often something is read back from tensors or made of arrays."""

    def __init__(self, monkeypatch):
        self.count = 0
        for name in ("item", "tolist", "cpu", "__float__", "__bool__"):
            self._count(monkeypatch, torch.Tensor, name)
        self._count(monkeypatch, torch, "from_numpy")

    def _count(self, monkeypatch, owner, name):
        original = getattr(owner, name)

        def counted(*arguments, **options):
            self.count += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)


def crossings(monkeypatch, steps, engine, **changes):
    made = trainer(plan=LocalPlan(8, steps=steps))
    jobs = [prepare(made, one, message(made, 1), RecordDict()) for one in members(**changes)]
    with monkeypatch.context() as patch:
        counter = Crossings(patch)
        train_cohort(made, jobs, engine)
    return counter.count


@pytest.mark.parametrize("engine", [Engine(), Engine("vectorized", 7)])
def test_steps_cross_nothing(engine, monkeypatch):
    assert crossings(monkeypatch, 12, engine) == crossings(monkeypatch, 3, engine)


def test_an_evaluation_crosses_a_fixed_number_of_times_a_batch(monkeypatch):
    made, data = trainer(), members()
    split = Split(data[0].train.pool, np.arange(100))
    counts = []
    for size, batches in ((10, 10), (50, 2)):
        with monkeypatch.context() as patch:
            counter = Crossings(patch)
            evaluate(
                made.model, made.model.state_dict(), split, measures_for("classification", CLASSES), size
            )
        counts.append((counter.count - 1) / batches)
    assert counts[0] == counts[1] == 2
