"""Initial values: decided by the seed and the parameter's name, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fedbal.errors import UsageError
from fedbal.models.build import ModelChoice, build, draw_by_name
from fedbal.models.params import CNNParams, LogisticParams, MLPParams, ResNet18GNParams
from fedbal.params import CustomParams

USER_MODELS = """
import torch
from torch import nn
from fedbal.models.base import Classifier
from fedbal.models.linear import MLP

class TwoHeads(MLP):
    def __init__(self, input_shape, num_classes):
        torch.rand(3)
        super().__init__(input_shape, num_classes)
        self.personal = nn.Linear(self.feature_size, num_classes)

class Pretrained(Classifier):
    named_init = False
    def __init__(self, input_shape, num_classes):
        super().__init__(nn.Flatten(), 6, num_classes)
        nn.init.constant_(self.classifier.weight, 0.25)

class Plain(nn.Module):
    def __init__(self, input_shape, num_classes, scale=1.0):
        super().__init__()
        self.weight = nn.Parameter(scale * torch.randn(input_shape[0], num_classes))
    def forward(self, x):
        return x @ self.weight

class Dropping(nn.Sequential):
    def __init__(self, input_shape, num_classes):
        super().__init__(nn.BatchNorm1d(6).eval(), nn.Dropout(0.5), nn.Linear(6, num_classes))

class TooWide(nn.Linear):
    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape[0], num_classes + 1)

class Tuple(nn.Linear):
    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape[0], num_classes)
    def forward(self, x):
        return super().forward(x), x

class WrongInput(nn.Linear):
    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape[0] + 1, num_classes)

class NoModule:
    def __init__(self, input_shape, num_classes):
        pass
"""


@pytest.fixture
def user_model(tmp_path: Path) -> str:
    path = tmp_path / "user_models.py"
    path.write_text(USER_MODELS)
    return f"{path}:"


def values(model: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    "params", [MLPParams(), CNNParams(), ResNet18GNParams(width=4)], ids=lambda p: p.name
)
def test_same_seed_same_bytes_other_seed_other_bytes(params: ModelChoice) -> None:
    model = build(params, (1, 16, 16), 10, seed=3)
    other = values(build(params, (1, 16, 16), 10, seed=4))
    assert values(model) == values(build(params, (1, 16, 16), 10, seed=3))
    drawn = [name for name, parameter in model.named_parameters() if parameter.std() > 0]
    assert len(drawn) >= 4
    assert all(values(model)[name] != other[name] for name in drawn)


def test_global_generator_is_neither_read_nor_advanced(user_model: str) -> None:
    for params in (MLPParams(), CustomParams(name=user_model + "Plain")):
        before = torch.get_rng_state()
        first = values(build(params, (6,), 3, seed=0))
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        assert values(build(params, (6,), 3, seed=0)) == first


def test_one_more_head_shifts_nothing(user_model: str) -> None:
    plain = values(build(MLPParams(), (6,), 3, seed=5))
    headed = values(build(CustomParams(name=user_model + "TwoHeads"), (6,), 3, seed=5))
    assert set(headed) - set(plain) == {"personal.weight", "personal.bias"}
    assert {name: headed[name] for name in plain} == plain
    assert headed["personal.weight"] != headed["classifier.weight"]


def test_linear_and_convolution_values_fill_torch_s_default_range() -> None:
    model = build(CNNParams(), (3, 32, 32), 10, seed=0)
    fan_in = {"features.3": 150, "features.7": 400, "features.9": 120, "classifier": 84}
    for layer, fan in fan_in.items():
        for name in ("weight", "bias"):
            bound = fan**-0.5
            largest = model.get_parameter(f"{layer}.{name}").abs().max().item()
            assert 0.7 * bound < largest <= bound


def test_norms_start_as_the_identity() -> None:
    model = build(ResNet18GNParams(width=4), (1, 8, 8), 10, seed=0)
    norms = [module for module in model.modules() if isinstance(module, nn.GroupNorm)]
    assert len(norms) == 20
    assert all(bool((norm.weight == 1).all()) and bool((norm.bias == 0).all()) for norm in norms)


def test_a_module_of_unknown_kind_keeps_its_values() -> None:
    model = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 2))
    before = values(model)
    draw_by_name(model, 0)
    after = values(model)
    assert [name for name in before if before[name] == after[name]] == ["0.weight"]


def test_values_that_a_user_set_are_respected(user_model: str) -> None:
    model = build(CustomParams(name=user_model + "Pretrained"), (6,), 3, seed=0)
    assert bool((model.get_parameter("classifier.weight") == 0.25).all())


def test_a_user_s_model_gets_its_parameters_and_the_seed(user_model: str) -> None:
    one, two, three = (
        build(CustomParams(name=user_model + "Plain", **extra), (6,), 3, seed).get_parameter("weight")
        for seed, extra in [(0, {}), (0, {"scale": 2.0}), (1, {})]
    )
    assert torch.equal(2 * one, two)
    assert not torch.equal(one, three)


def test_probing_leaves_modes_and_running_statistics(user_model: str) -> None:
    model = build(CustomParams(name=user_model + "Dropping"), (6,), 3, seed=0)
    assert [module.training for module in model.children()] == [False, True, True]
    assert model.get_buffer("0.num_batches_tracked") == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TooWide", r"returns \(2, 4\) .* \(2, 3\)"),
        ("Tuple", r"returns tuple .* \(2, 3\)"),
        ("WrongInput", r"fails on a batch of shape \(2, 6\)"),
        ("NoModule", r"makes a NoModule.*torch\.nn\.Module"),
        ("Absent", r"no 'Absent'"),
    ],
)
def test_unusable_user_models_are_named(user_model: str, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(CustomParams(name=user_model + name), (6,), 3, seed=0)


def test_a_failing_constructor_is_reported_with_its_arguments(user_model: str) -> None:
    with pytest.raises(UsageError, match=r"num_classes=3, depth=2\) failed: TypeError.*depth"):
        build(CustomParams(name=user_model + "Plain", depth=2), (6,), 3, seed=0)  # type: ignore[call-arg]


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"unknown model 'logistik' .did you mean logistic"):
        build(LogisticParams.model_construct(name="logistik"), (6,), 3, seed=0)
