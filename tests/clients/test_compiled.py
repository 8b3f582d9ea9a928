"""The compiled step gives what training at once gives, whatever fills the chunk up."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from clients import programs
from clients.cohort import train_cohort
from clients.compiled import train_compiled
from clients.engine import Engine
from clients.optimizers import SGD, Adam, AdamW
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
    # Two rounds, one set of shapes: one program of a whole step, for the first rate, and one of its gradient.
    assert [key[0] for key in one.programs] == ["step", "gradient"]


@pytest.mark.parametrize(
    "optimizer", [SGD(0.05, momentum=0.9, weight_decay=0.01), Adam(), AdamW()], ids=["sgd", "adam", "adamw"]
)
def test_a_whole_step_leaves_clients_alone_that_are_done(optimizer):
    def make():
        return trainer(optimizer=optimizer)

    data, work, one = members(), [2, 1, 1, 2, 2, 0, 1], make()
    expected = answers(make(), data, train_together, 2, work)
    found = answers(one, data, lambda t, jobs: train_compiled(t, jobs, 9), 2, work)
    for ours, theirs in zip(found, expected, strict=True):
        assert distance(ours, theirs) <= 1e-5
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
    assert [key[0] for key in one.programs] == ["step"]


def test_threads_compile_one_after_the_other():
    made = [trainer() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(
            pool.map(lambda one: answers(one, members(), lambda t, jobs: train_compiled(t, jobs, 7), 2), made)
        )
    for other in found[1:]:
        assert all(distance(ours, theirs) == 0.0 for ours, theirs in zip(other, found[0], strict=True))


def test_what_cannot_be_compiled_is_one_clear_message(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no compiler\nlong trace")

    monkeypatch.setattr("torch._inductor.standalone_compile", refuse)
    made = trainer(plan=LocalPlan(8, steps=1))
    with pytest.raises(RunError, match=r"no compiler\); set runtime.compile to false"):
        answers(made, members(), lambda t, jobs: train_cohort(t, jobs, Engine("compiled", 7)), 1)


def test_a_card_gets_cuda_graphs(monkeypatch):
    modes = []
    monkeypatch.setattr("torch.compile", lambda traced, **options: modes.append(options["mode"]) or traced)
    double = programs._with_graphs(lambda x: 2 * x, [torch.ones(2)])
    assert double(3) == 6
    assert modes == ["reduce-overhead"]


def test_a_full_device_is_not_a_failed_compilation(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("torch._inductor.standalone_compile", full)
    with pytest.raises(torch.OutOfMemoryError):
        answers(trainer(), members(), lambda t, jobs: train_cohort(t, jobs, Engine("compiled", 7)), 1)
