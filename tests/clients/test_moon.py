"""MOON's local steps: the head beside the classifier, and what holds without a previous model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from flwr.app import RecordDict

from clients.base import Batch, LocalRound
from clients.data import ClientData, Pool, Split
from clients.functional import ModelFunction
from clients.losses import CrossEntropy
from clients.moon import Moon, contrastive
from clients.optimizers import SGD
from clients.projection import HEAD, project
from clients.standard import Standard
from clients.training import LocalPlan, train
from fedbal.models.auxiliary import attach
from fedbal.models.build import build
from fedbal.models.params import MLPParams
from fedbal.results import RunReader
from fedbal.simulation import run
from tests.scenarios import digits, sha256


def data(n=24, size=5):
    rng = np.random.default_rng(0)
    split = Split(
        Pool(rng.uniform(-1.0, 1.0, (n, size)).astype(np.float32), rng.integers(0, 3, n)), np.arange(n)
    )
    return ClientData("7", split, split, split)


def network(update):
    model = build(MLPParams(hidden=[6]), (5,), 3, 0)
    attach(model, update, (5,), 0)
    return model


def rounds(update, number=2):
    """Return the first model and what a client makes of each; later ones are halfway back to the first."""
    model, client, state = network(update), data(), RecordDict()
    received = {name: value.detach().clone() for name, value in model.state_dict().items()}
    path = [received]
    for server_round in range(1, number + 1):
        local = LocalRound(server_round, received, client, 3, state=state)
        batches = LocalPlan(8, epochs=2).minibatches(0, "7", server_round, 24)
        trained, _ = train(model, update, SGD(0.1, momentum=0.9), local, update.before(local), batches)
        update.after(local, trained)
        path.append(trained)
        received = {name: 0.5 * (value + path[0][name]) for name, value in trained.items()}
    return path


def test_the_head_has_two_layers_that_end_in_what_was_asked_for():
    model = network(Moon(CrossEntropy(), projection=4))
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items() if name.startswith(HEAD)}
    assert shapes == {
        f"{HEAD}0.weight": (6, 6),
        f"{HEAD}0.bias": (6,),
        f"{HEAD}2.weight": (4, 6),
        f"{HEAD}2.bias": (4,),
    }


def test_the_head_learns_from_the_second_participation_on_and_nothing_else_before():
    first, one, two = rounds(Moon(CrossEntropy(), projection=4))
    _, plain, _ = rounds(Standard(CrossEntropy()))
    for name, value in plain.items():
        assert torch.equal(value, one[name])
    heads = [name for name in first if name.startswith(HEAD)]
    assert all(torch.equal(first[name], one[name]) for name in heads)
    assert all(not torch.equal(one[name], two[name]) for name in heads if name.endswith("weight"))


def test_the_contrast_is_of_projected_features():
    update = Moon(CrossEntropy(), mu=3.0, projection=4)
    model, (first, one, two) = network(update), rounds(update)
    forward, client = ModelFunction(model), data()
    x, y = client.train.batch(np.arange(8))
    batch = Batch(x, y)
    with torch.no_grad():
        frozen = {"received": one, "previous": first}
        found = update.loss(forward, two, batch, frozen) - CrossEntropy()(forward(two, x), batch)
        z, near, far = (project(each, forward.features(each, x)[0]) for each in (two, one, first))
    assert float(found) == pytest.approx(3.0 * float(contrastive(z, near, far, 0.5).mean()), rel=1e-5)
    assert z.shape == (8, 4)


def test_a_previous_model_equal_to_the_received_one_gives_ln_2_and_no_gradient():
    update = Moon(CrossEntropy(), projection=4)
    first, _, _ = rounds(update)
    forward = ModelFunction(network(update))
    x, y = data().train.batch(np.arange(8))
    batch, frozen = Batch(x, y), {"received": first, "previous": first}
    params = {name: value.clone().requires_grad_() for name, value in first.items()}
    extra = update.loss(forward, params, batch, frozen) - CrossEntropy()(forward(params, x), batch)
    assert float(extra.detach()) == pytest.approx(math.log(2.0), abs=1e-6)
    head = [value for name, value in params.items() if name.startswith(HEAD)]
    for gradient in torch.autograd.grad(update.loss(forward, params, batch, frozen), head):
        assert float(gradient.abs().max()) < 1e-7


@pytest.mark.parametrize("value", [0, -1])
def test_outputs_are_positive(value):
    with pytest.raises(ValueError, match="projection must be >= 1"):
        Moon(CrossEntropy(), projection=value)


def test_without_the_term_there_is_no_head_and_the_run_is_fedavg(tmp_path):
    run(digits("rounds=2"), tmp_path / "plain")
    run(digits("rounds=2", "strategy={name: moon, mu: 0, projection: 8}"), tmp_path / "off")
    left, right = (sha256(tmp_path / name / "model.safetensors") for name in ("plain", "off"))
    assert left == right


def test_the_head_travels_and_changes_what_is_learned(tmp_path):
    for name, more in (("features", ""), ("head", ", projection: 8")):
        run(
            digits("rounds=4", "cohort.fraction=1.0", f"strategy={{name: moon, mu: 5{more}}}"),
            tmp_path / name,
        )
    one, two = (RunReader(tmp_path / name) for name in ("features", "head"))
    assert {row["status"] for row in two.clients()} == {"ok"}
    head = 4 * (16 * 16 + 16 + 16 * 8 + 8)
    assert two.rounds()[0]["bytes_down"] - one.rounds()[0]["bytes_down"] >= 8 * head
    assert two.rounds()[0]["test"] == one.rounds()[0]["test"]
    assert two.rounds()[-1]["test"]["loss"] != one.rounds()[-1]["test"]["loss"]
