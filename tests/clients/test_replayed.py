"""Replayed steps of one client: the bits of the plain loop, for everything that can be recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clients import LOSSES, UPDATES
from clients.augment import Augmentation
from clients.cohort import train_alone
from clients.losses import CrossEntropy
from clients.optimizers import SGD, Adam, AdamW
from clients.recorded import Recorder
from clients.schedules import Exponential
from clients.shift import Brightness
from clients.standard import Standard
from clients.training import LocalPlan, train_from
from fedbal.determinism import pinned
from fedbal.errors import RunError
from tests.clients.cohorts import MODELS, answers, members, trainer

REPLAYED = [name for name in UPDATES if name != "fedbr"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("clients.recorded.CALLS_BEFORE", 0)
    with pinned(1):
        yield


def plain(trainer, jobs):
    given = trainer.model, trainer.update
    return [
        train_from(
            *(job.start, *given, job.optimizer, job.local, job.frozen, job.batches),
            *(trainer.options, job.prior),
        )
        for job in jobs
    ]


def replayed(trainer, jobs):
    assert trainer.replays
    return [train_alone(trainer, job) for job in jobs]


def same_bits(make, data, rounds=2, work=None):
    made = make()
    expected = answers(make(), data, plain, rounds, work)
    found = answers(made, data, replayed, rounds, work)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.loss == theirs.loss
        assert list(ours.tensors) == list(theirs.tensors)
        assert all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in theirs.tensors)
        assert ours.records.keys() == theirs.records.keys()
        assert ours.extras == theirs.extras
    return made.recorder


@pytest.mark.parametrize("update", REPLAYED)
def test_every_update(update):
    assert same_bits(lambda: trainer(update=update), members(), 3).recordings >= 3


@pytest.mark.parametrize(
    "loss",
    [
        *(name for name in LOSSES if name != "dice"),
        *((name, {"prior": "global"}) for name in ("class_balanced", "logit_adjustment")),
    ],
    ids=str,
)
def test_every_loss(loss):
    assert same_bits(lambda: trainer(loss=loss), members()).recordings >= 3


@pytest.mark.parametrize("update", ["standard", "proximal"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model(model, update):
    recorder = same_bits(
        lambda: trainer(model, update, plan=LocalPlan(4, epochs=1)), members(MODELS[model][1], (9, 4)), 2
    )
    assert recorder.recordings >= 2


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.05, momentum=0.9, weight_decay=0.01), SGD(0.05, momentum=0.5, nesterov=True), Adam(), AdamW()],
    ids=["momentum", "nesterov", "adam", "adamw"],
)
def test_optimizers_and_clipping(optimizer, clip_norm):
    same_bits(lambda: trainer(optimizer=optimizer, clip_norm=clip_norm), members())


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_precisions_and_doubles(precision):
    def make():
        made = trainer("cnn", plan=LocalPlan(4, epochs=1))
        object.__setattr__(made, "options", type(made.options)(precision=precision))
        return made

    assert same_bits(make, members((1, 28, 28), (9, 4)), 1).recordings >= 2
    same_bits(lambda: trainer(double=True), members(double=True))


def test_schedules_stragglers_and_steps():
    same_bits(lambda: trainer(schedule=Exponential(0.5), rounds=3), members(), 3)
    work = [2, 1, 0, 2, 2, 1, 1]
    same_bits(lambda: trainer(plan=LocalPlan(8, steps=5)), members(), 2, work)


def test_changed_images():
    data = members((1, 28, 28), (9, 5), shift=lambda client: Brightness(0.1 * client))
    changes = Augmentation(crop_padding=2, horizontal_flip=True)
    same_bits(lambda: trainer("cnn", augment=changes, plan=LocalPlan(4, epochs=1)), data)


def test_frozen_parameters():
    def make():
        made = trainer(update="proximal")
        next(iter(made.model.parameters())).requires_grad_(False)
        return made

    same_bits(make, members())


class Remembering(Standard):
    """Its loss counts its calls."""

    calls = 0

    def loss(self, forward, params, batch, frozen):
        self.calls += 1
        return super().loss(forward, params, batch, frozen) * self.calls


def test_only_known_parts_and_pure_models_are_recorded():
    from dataclasses import replace

    made = trainer()
    assert made.replays
    assert not replace(made, update=Remembering(CrossEntropy())).replays
    normed = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))
    assert not replace(made, model=normed).replays
    assert not replace(made, model=torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Dropout(0.5))).replays
    assert not trainer(update="fedbr").replays


def steps_of(family, step, moving, inputs, rate=0.1):
    """Do the steps twice: as the family does them, and plainly."""
    optimizer, expected = SGD(rate), [one.clone() for one in moving]
    for own in zip(*inputs, strict=True):
        step(optimizer, expected, own, ())
    family.run("key", step, optimizer, moving, inputs, ())
    assert all(map(torch.equal, moving, expected))


def test_what_depends_on_values_is_not_recorded():
    def branching(optimizer, moving, inputs, fixed):
        moving[0].add_(inputs[0] * 2.0 if float(inputs[0].sum()) > 0 else inputs[0] * 3.0)

    def writing(optimizer, moving, inputs, fixed):
        moving[0].add_(inputs[0].mul_(1.0))

    for step in (branching, writing):
        recorder = Recorder()
        ones = torch.ones(3)
        steps_of(recorder.family(step.__name__), step, [torch.zeros(3)], [torch.stack([ones, ones, -ones])])
        assert recorder.recordings == 0


def test_draws_are_not_recorded():
    def drawing(optimizer, moving, inputs, fixed):
        moving[0].add_(torch.rand_like(inputs[0]))

    recorder = Recorder()
    recorder.family("drawing").run("key", drawing, SGD(0.1), [torch.zeros(3)], [torch.ones(4, 3)], ())
    assert recorder.recordings == 0


def test_a_recording_is_made_of_what_is_called():
    def step(optimizer, moving, inputs, fixed):
        x, y = inputs
        parts = torch.split(x @ y.t(), 2)
        both = torch.stack([parts[0], parts[1][:2]]).sum((0, 2), keepdim=True).mul_(2.0)
        moving[0].add_(both.sum()).sub_(torch.nn.functional.pad(x, [1, 1])[:, 1:-1], alpha=optimizer.lr)

    family = Recorder().family("step")
    rng = np.random.default_rng(0)
    for rate in (0.1, 0.1, 0.05):
        inputs = [torch.from_numpy(rng.standard_normal((3, 4, 3))) for _ in range(2)]
        steps_of(family, step, [torch.ones(4, 3, dtype=torch.float64)], inputs, rate)
    assert family.recordings == 1


def test_a_rate_that_hides_in_other_numbers_is_recorded_for_itself_alone():
    def step(optimizer, moving, inputs, fixed):
        moving[0].mul_(1.0 - optimizer.lr * 0.5).add_(inputs[0])

    family = Recorder().family("step")
    for rate in (0.1, 0.05, 0.1):
        steps_of(family, step, [torch.ones(3)], [torch.ones(4, 3)], rate)
    assert family.recordings == 1


def test_an_optimizer_of_the_users_is_not_recorded():
    class Own(SGD):
        pass

    Own.__module__ = "somebody"
    made = trainer(optimizer=Own(0.05))
    assert not made.pure
    answers(made, members(), replayed, 2)
    assert made.recorder.recordings == 0


def test_a_run_that_is_to_end_stops_between_steps(monkeypatch):
    monkeypatch.setattr("clients.recorded.DEAF_SECONDS", 0.0)
    recorder = Recorder()

    def step(optimizer, moving, inputs, fixed):
        moving[0].add_(inputs[0])

    family = recorder.family("step")
    moving = [torch.zeros(3)]
    family.run("key", step, SGD(0.1), moving, [torch.ones(6, 3)], ())
    assert moving[0].tolist() == [6.0, 6.0, 6.0]
    recorder.leave()
    with pytest.raises(RunError, match="ended"):
        family.run("key", step, SGD(0.1), moving, [torch.ones(6, 3)], ())
    assert moving[0].tolist() == [6.0, 6.0, 6.0]
