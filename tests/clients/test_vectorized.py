"""Training many clients at once is training one after the other, but for the last bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clients import LOSSES, UPDATES
from clients.augment import Augmentation
from clients.cohort import train_alone
from clients.losses import CrossEntropy
from clients.moon import Moon
from clients.optimizers import SGD, Adam, AdamW
from clients.preprocess import Transform
from clients.schedules import Exponential
from clients.shift import Brightness, Rotation
from clients.training import LocalPlan
from clients.vectorizable import obstacle
from clients.vectorized import train_together
from fedbal.determinism import pinned
from tests.clients.cohorts import MODELS, answers, distance, members, trainer

UPDATES_AT_ONCE = [name for name in UPDATES if name != "fedbr"]
LOSS_VARIANTS = [
    *(name for name in LOSSES if name != "dice"),
    *((name, {"prior": "global"}) for name in ("class_balanced", "balanced_softmax", "logit_adjustment")),
]


@pytest.fixture(autouse=True)
def one_thread():
    with pinned(1):
        yield


def alone(trainer, jobs):
    return [train_alone(trainer, job) for job in jobs]


def agree(make, data, work=None, tolerance=1e-5, rounds=2):
    one, many = make(), make()
    expected = answers(one, data, alone, rounds, work)
    found = answers(many, data, train_together, rounds, work)
    for ours, theirs in zip(found, expected, strict=True):
        assert list(ours.tensors) == list(theirs.tensors)
        assert distance(ours, theirs) <= tolerance
        assert ours.loss == pytest.approx(theirs.loss, rel=10 * tolerance, abs=10 * tolerance)
        assert (ours.num_examples, ours.server_round) == (theirs.num_examples, theirs.server_round)
        assert ours.records.keys() == theirs.records.keys()
        assert ours.extras == theirs.extras


def test_all_updates_but_those_with_steps_of_their_own_are_trained_at_once():
    kinds = {name: UPDATES.load(name)(CrossEntropy()) for name in UPDATES}
    assert {name for name, update in kinds.items() if update.steps_along_loss} == set(UPDATES_AT_ONCE)
    assert not Moon(CrossEntropy(), projection=4).steps_along_loss


@pytest.mark.parametrize("update", UPDATES_AT_ONCE)
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-9), (False, 1e-5)])
def test_every_update(update, double, tolerance):
    agree(
        lambda: trainer(update=update, double=double),
        members(double=double),
        tolerance=tolerance,
        rounds=3,
    )


@pytest.mark.parametrize("loss", LOSS_VARIANTS, ids=str)
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-9), (False, 1e-5)])
def test_every_loss(loss, double, tolerance):
    agree(lambda: trainer(loss=loss, double=double), members(double=double), tolerance=tolerance)


@pytest.mark.parametrize("model", MODELS)
def test_every_model(model):
    shape = MODELS[model][1]
    sizes = (3, 2) if model == "resnet18_gn" else (17, 8, 1, 12)
    for double, tolerance in ((True, 1e-9), (False, 1e-5)):
        agree(
            lambda double=double: trainer(
                model, plan=LocalPlan(8, epochs=1), optimizer=SGD(0.01), double=double
            ),
            members(shape, sizes, double),
            tolerance=tolerance,
            rounds=1,
        )


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.05, momentum=0.9, weight_decay=0.01), SGD(0.05, momentum=0.5, nesterov=True), Adam(), AdamW()],
    ids=["momentum", "nesterov", "adam", "adamw"],
)
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_optimizers_and_clipping(optimizer, clip_norm):
    def make(double):
        return trainer(optimizer=optimizer, clip_norm=clip_norm, double=double)

    agree(lambda: make(True), members(double=True), tolerance=1e-9)
    agree(lambda: make(False), members(), tolerance=1e-4 if isinstance(optimizer, Adam) else 1e-5)


def test_clipping_is_each_clients_own():
    clipped = answers(trainer(clip_norm=1e-3), members(), train_together, 1)
    start = trainer().model.state_dict()
    for reply, steps in zip(clipped, (6, 2, 8, 2, 2, 4, 10), strict=True):
        moved = torch.cat([(reply.tensors[name] - start[name]).flatten() for name in start]).norm()
        assert float(moved) <= steps * 0.05 * 1e-3 * (1 + 1e-3)


def test_schedules():
    agree(lambda: trainer(schedule=Exponential(0.5), rounds=3), members(), rounds=3)


@pytest.mark.parametrize("work", [[2, 1, 1, 2, 2, 1, 1], [0, 2, 0, 1, 2, 2, 0]])
@pytest.mark.parametrize("plan", [LocalPlan(8, epochs=2), LocalPlan(8, steps=5), LocalPlan(64, epochs=2)])
def test_stragglers(plan, work):
    agree(lambda: trainer(plan=plan, optimizer=SGD(0.05, momentum=0.9)), members(), work)


def test_augmentation():
    changes = Augmentation(crop_padding=2, horizontal_flip=True)
    agree(
        lambda: trainer("cnn", augment=changes, plan=LocalPlan(8, epochs=1)),
        members((1, 28, 28), (17, 8, 5)),
        rounds=1,
    )


def test_feature_shift():
    shifts = [Brightness(0.1), Rotation(20.0), Brightness(-0.2)]
    data = members((1, 28, 28), (17, 8, 5), shift=lambda client: shifts[client])
    agree(lambda: trainer("cnn", plan=LocalPlan(8, epochs=1)), data, rounds=1)


def test_preprocessing():
    def transform(client):
        spread = np.full(6, 1.0 + client)
        return Transform(np.zeros(6), np.full(6, 0.1), spread, np.full(6, 9))

    agree(trainer, members(transform=transform))


def test_frozen_parameters_stay_where_they_are():
    def make():
        made = trainer(update="proximal")
        first = next(iter(made.model.parameters()))
        first.requires_grad_(False)
        return made

    made = make()
    kept = next(iter(made.model.parameters())).clone()
    replies = answers(made, members(), train_together, 1)
    assert len(replies[0].tensors) == len(made.model.state_dict()) - 1
    assert torch.equal(next(iter(made.model.parameters())), kept)
    agree(make, members())


def test_received_model_is_not_written_to():
    made = trainer(update="local_only")
    data = members()
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    answers(made, data, train_together)
    assert all(torch.equal(value, before[name]) for name, value in made.model.state_dict().items())


def test_the_others_in_a_chunk_do_not_change_a_client_beyond_rounding():
    data = members()
    whole = answers(trainer(), data, train_together, 1)
    for client, reply in enumerate(whole):
        (single,) = answers(trainer(), [data[client]], train_together, 1)
        assert distance(single, reply) <= 1e-6


def test_a_clients_nan_stays_its_own():
    data = members()
    poisoned = members()
    poisoned[2].train.pool.x[poisoned[2].train.rows] = float("nan")
    clean = answers(trainer(), data, train_together, 1)
    found = answers(trainer(), poisoned, train_together, 1)
    for client, (ours, theirs) in enumerate(zip(found, clean, strict=True)):
        same = all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in theirs.tensors)
        assert same is (client != 2)
    assert np.isnan(found[2].loss)


class Buffered(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(6, 4), layer)

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize(
    ("layer", "word"),
    [
        (torch.nn.BatchNorm1d(4), "running_mean"),
        (torch.nn.Dropout(0.5), "dropout"),
        (torch.nn.Dropout(0.0), None),
    ],
)
def test_what_forbids_it_is_said(layer, word):
    from dataclasses import replace

    reason = obstacle(replace(trainer(), model=Buffered(layer)))
    assert reason is None if word is None else word in reason


def test_an_update_with_steps_of_its_own_and_an_unknown_optimizer_are_obstacles():
    class Own(SGD):
        elementwise = False

    assert "FedBR" in obstacle(trainer(update="fedbr"))
    assert "elementwise" in obstacle(trainer(optimizer=Own(0.1)))
    assert obstacle(trainer()) is None


@pytest.mark.parametrize("update", ["standard", "proximal", "moon"])
def test_recorded_steps_have_the_same_bits(update, monkeypatch):
    def trained(before):
        monkeypatch.setattr("clients.recorded.CALLS_BEFORE", before)
        made = trainer(update=update, loss="class_balanced", clip_norm=0.5)
        return answers(made, members(), train_together, 3), made.recorder

    plain, without = trained(10**9)
    replayed, recorder = trained(0)
    assert not without.recordings
    assert recorder.recordings > 0
    for ours, theirs in zip(replayed, plain, strict=True):
        assert ours.loss == theirs.loss
        assert all(torch.equal(ours.tensors[name], theirs.tensors[name]) for name in theirs.tensors)
