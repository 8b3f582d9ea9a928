"""Shared and frozen tensors of a model, and what a frozen part does in training."""

from __future__ import annotations

import torch
from torch import nn

from clients.base import LocalRound
from clients.groups import shared_names, training_mode
from clients.losses import CrossEntropy
from clients.optimizers import SGD
from clients.standard import Standard
from clients.training import LocalPlan, train
from tests.clients.test_training import make_data


def network():
    model = nn.Sequential()
    model.add_module(
        "features", nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8, affine=False), nn.Dropout(0.5))
    )
    model.add_module("norm", nn.BatchNorm1d(8))
    model.add_module("classifier", nn.Linear(8, 3))
    return model


def test_without_frozen_parameters_everything_travels():
    model = network()
    assert shared_names(model) == tuple(model.state_dict())
    training_mode(model)
    assert all(module.training for module in model.modules())


def test_a_buffer_follows_the_parameters_around_it():
    model = network()
    model.features.requires_grad_(False)
    assert [name for name in model.state_dict() if name not in shared_names(model)] == [
        "features.0.weight",
        "features.0.bias",
        "features.1.running_mean",
        "features.1.running_var",
        "features.1.num_batches_tracked",
    ]
    model.features[0].bias.requires_grad_(True)
    assert set(model.state_dict()) - set(shared_names(model)) == {"features.0.weight"}


def test_a_buffer_of_the_model_itself_is_frozen_only_with_everything():
    model = network()
    model.register_buffer("step", torch.zeros(1))
    model.features.requires_grad_(False)
    assert "step" in shared_names(model)
    model.requires_grad_(False)
    assert shared_names(model) == ()


def test_frozen_normalisation_is_not_in_training_mode_but_dropout_is():
    model = network()
    model.features.requires_grad_(False)
    training_mode(model)
    assert not model.features[1].training
    assert model.features[2].training
    assert model.norm.training


def test_training_changes_shared_tensors_alone():
    model = network()
    model.features.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shared = shared_names(model)
    received = {name: before[name] for name in shared}
    data = make_data()
    local = LocalRound(round=1, received=received, data=data, num_classes=3)
    batches = LocalPlan(8, epochs=2).minibatches(0, data.key, 1, len(data.train))
    trained, _ = train(model, Standard(CrossEntropy()), SGD(0.1), local, {}, batches)
    assert tuple(trained) == shared
    assert not torch.equal(trained["classifier.weight"], before["classifier.weight"])
    assert not torch.equal(trained["norm.running_mean"], before["norm.running_mean"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
