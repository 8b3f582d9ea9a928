"""The compiled step gives what training at once gives, whatever fills the chunk up."""

from __future__ import annotations

import shutil

import pytest
import torch

from clients.cohort import train_cohort
from clients.compiled import mode_of, train_compiled
from clients.engine import Engine
from clients.optimizers import SGD
from clients.schedules import Exponential
from clients.training import LocalPlan
from clients.vectorized import train_together
from fedbal.errors import RunError
from tests.clients.cohorts import answers, distance, members, trainer

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
)


def test_unequal_clients_momentum_schedule_and_stragglers():
    def make():
        return trainer(
            update="proximal",
            loss="balanced_softmax",
            optimizer=SGD(0.05, momentum=0.9),
            schedule=Exponential(0.5),
            rounds=2,
            clip_norm=1.0,
        )

    data, work = members(), [2, 1, 1, 2, 2, 0, 1]
    one, many = make(), make()
    expected = answers(many, data, train_together, 2, work)
    found = answers(one, data, lambda t, jobs: train_compiled(t, jobs, 9), 2, work)
    for ours, theirs in zip(found, expected, strict=True):
        assert distance(ours, theirs) <= 1e-5
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
    # Two rounds, one set of shapes: one program.
    assert len(one.programs) == 1


def test_what_cannot_be_compiled_is_one_clear_message(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no compiler\nlong trace")

    monkeypatch.setattr("torch.compile", refuse)
    made = trainer(plan=LocalPlan(8, steps=1))
    with pytest.raises(RunError, match=r"no compiler\); set runtime.compile to false"):
        answers(made, members(), lambda t, jobs: train_cohort(t, jobs, Engine("compiled", 7)), 1)


def test_a_card_gets_cuda_graphs(monkeypatch):
    assert mode_of(torch.device("cpu")) is None
    assert mode_of(torch.device("cuda", 1)) == "reduce-overhead"
    modes = []
    monkeypatch.setattr("torch.compile", lambda traced, **options: modes.append(options["mode"]) or traced)
    answers(trainer(), members(), lambda t, jobs: train_compiled(t, jobs, 7), 1)
    assert modes == [None]


def test_a_full_device_is_not_a_failed_compilation(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("torch.compile", full)
    with pytest.raises(torch.OutOfMemoryError):
        answers(trainer(), members(), lambda t, jobs: train_cohort(t, jobs, Engine("compiled", 7)), 1)
