"""Local optimizers and gradient clipping against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clients.losses import CrossEntropy
from clients.optimizers import SGD, Adam, AdamW, clip
from clients.standard import Standard
from clients.training import LocalPlan, StepOptions, train
from fedbal.errors import UsageError
from fedbal.results import RunReader
from fedbal.simulation import run
from tests.clients.test_training import LocalRound, make_data, make_model
from tests.scenarios import digits, sha256


def ours(optimizer, options=None, epochs=3):
    data, model = make_data(), make_model()
    received = {name: value.detach().clone() for name, value in model.state_dict().items()}
    local = LocalRound(round=4, received=received, data=data, num_classes=3)
    batches = LocalPlan(8, epochs=epochs).minibatches(0, data.key, 4, len(data.train))
    trained, _ = train(
        model, Standard(CrossEntropy()), optimizer, local, {}, batches, options or StepOptions()
    )
    return trained


def torchs(make, max_norm=None, epochs=3):
    data, model = make_data(), make_model()
    optimizer = make(model.parameters())
    for positions in LocalPlan(8, epochs=epochs).minibatches(0, data.key, 4, len(data.train)):
        x, y = data.train.batch(positions)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize(
    ("optimizer", "make"),
    [
        (SGD(0.1, 0.9, nesterov=True), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
        (
            SGD(0.1, 0.8, 0.02, nesterov=True),
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, weight_decay=0.02, nesterov=True),
        ),
        (Adam(0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
        (
            Adam(0.02, 0.8, 0.95, 1e-6, 0.1),
            lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        ),
        (AdamW(0.01), lambda p: torch.optim.AdamW(p, lr=0.01)),
        (AdamW(0.02, weight_decay=0.5), lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.5)),
    ],
)
def test_optimizers_are_torchs(optimizer, make):
    trained, expected = ours(optimizer), torchs(make)
    for name, value in expected.items():
        torch.testing.assert_close(trained[name], value, rtol=1e-5, atol=2e-6)


def test_the_state_is_fresh_in_every_round():
    optimizer = Adam(0.01)
    first, second = ours(optimizer), ours(optimizer)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGD(0.1, 0.0, nesterov=True),
        lambda: SGD(0.0),
        lambda: Adam(0.0),
        lambda: Adam(beta2=1.0),
        lambda: AdamW(weight_decay=-1.0),
        lambda: Adam(eps=0.0),
    ],
)
def test_impossible_parameters_are_refused(make):
    with pytest.raises(ValueError, match=r"need"):
        make()


def gradients(scale):
    generator = torch.Generator().manual_seed(1)
    return {
        "a": scale * torch.randn(4, 3, generator=generator),
        "b": scale * torch.randn(5, generator=generator),
    }


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_clipping_is_torchs_bit_for_bit(scale):
    given = gradients(scale)
    parameters = [nn.Parameter(torch.zeros_like(value)) for value in given.values()]
    for parameter, value in zip(parameters, given.values(), strict=True):
        parameter.grad = value.clone()
    nn.utils.clip_grad_norm_(parameters, 0.7)
    clipped = clip(given, 0.7)
    for parameter, value in zip(parameters, clipped.values(), strict=True):
        assert torch.equal(parameter.grad, value)


def test_clipping_maps_over_clients():
    clients = [gradients(scale) for scale in (1e-3, 1.0, 50.0)]
    stacked = {name: torch.stack([client[name] for client in clients]) for name in clients[0]}
    mapped = torch.func.vmap(lambda one: clip(one, 0.7))(stacked)
    for index, client in enumerate(clients):
        for name, value in clip(client, 0.7).items():
            torch.testing.assert_close(mapped[name][index], value)


def test_training_with_clipping_is_torchs():
    make = lambda p: torch.optim.SGD(p, lr=0.3)  # noqa: E731
    clipped, expected = ours(SGD(0.3), StepOptions(clip_norm=0.2)), torchs(make, 0.2)
    for name, value in expected.items():
        torch.testing.assert_close(clipped[name], value, rtol=0, atol=1e-6)
    free = ours(SGD(0.3))
    assert not all(torch.equal(free[name], clipped[name]) for name in free)


def test_runs_with_clipping_and_adam(tmp_path):
    run(digits("client.clip_norm=0.05"), tmp_path / "clipped")
    run(digits("client.clip_norm=1000000.0"), tmp_path / "loose")
    run(digits(), tmp_path / "free")
    run(digits("client.optimizer={name: adam, lr: 0.01}", "rounds=6"), tmp_path / "adam")
    hashes = {name: sha256(tmp_path / name / "model.safetensors") for name in ("clipped", "loose", "free")}
    assert hashes["loose"] == hashes["free"] != hashes["clipped"]
    rounds = RunReader(tmp_path / "adam").rounds()
    assert rounds[-1]["test"]["accuracy"] > rounds[0]["test"]["accuracy"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("client.clip_norm=0", r"client\.clip_norm: got 0; a number > 0"),
        ("client.optimizer.nesterov=true", r"client\.optimizer\.nesterov: got true; needs"),
        ("client.optimizer={name: adam, beta1: 1.0}", r"client\.optimizer\.beta1"),
    ],
)
def test_scenarios_that_cannot_be(change, message):
    with pytest.raises(UsageError, match=message):
        digits(change)
