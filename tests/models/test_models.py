"""The shipped networks: published sizes, split in two, ready for many clients at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from fedbal.errors import UsageError
from fedbal.models import MODELS
from fedbal.models.base import Classifier
from fedbal.models.build import ModelChoice, build
from fedbal.models.cnn import CNN
from fedbal.models.params import CNNParams, LogisticParams, MLPParams, ResNet18GNParams, UNetParams

CHOICES: list[tuple[ModelChoice, tuple[int, ...]]] = [
    (LogisticParams(), (64,)),
    (MLPParams(hidden=[7, 5]), (1, 8, 8)),
    (CNNParams(), (1, 8, 8)),
    (CNNParams(), (3, 32, 32)),
    (ResNet18GNParams(width=4), (3, 16, 16)),
    (UNetParams(width=4), (2, 9, 11)),
]
each_model = pytest.mark.parametrize(
    ("params", "shape"), CHOICES, ids=lambda value: getattr(value, "name", None)
)


def targets(params: ModelChoice, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one row's labels: a mask for a U-Net, else a class."""
    return shape[1:] if isinstance(params, UNetParams) else ()


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_every_table_entry_is_exercised_here() -> None:
    assert {params.name for params, _ in CHOICES} == set(MODELS)


@pytest.mark.parametrize(
    ("params", "shape", "expected"),
    [
        (CNNParams(), (1, 28, 28), 44_426),
        (CNNParams(), (3, 32, 32), 62_006),
        (LogisticParams(), (1, 8, 8), 650),
        (MLPParams(), (1, 8, 8), 64 * 64 + 64 + 650),
        (MLPParams(hidden=[3, 2]), (5,), 18 + 8 + 30),
        (ResNet18GNParams(), (3, 32, 32), 11_173_962),
        (UNetParams(), (1, 32, 32), 29_786),
    ],
)
def test_parameter_counts(params: ModelChoice, shape: tuple[int, ...], expected: int) -> None:
    classes = 2 if isinstance(params, UNetParams) else 10
    assert count(build(params, shape, classes, seed=0, target_shape=targets(params, shape))) == expected


@each_model
def test_forward_is_classifier_of_features(params: ModelChoice, shape: tuple[int, ...]) -> None:
    model = build(params, shape, 4, seed=0, target_shape=targets(params, shape))
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    assert isinstance(model, Classifier)
    representation = model.features(x)
    assert representation.shape == (3, model.feature_size, *targets(params, shape))
    assert torch.equal(model(x), model.classifier(representation))


@each_model
def test_many_clients_at_once_equal_one_after_another(params: ModelChoice, shape: tuple[int, ...]) -> None:
    model = build(params, shape, 4, seed=0, target_shape=targets(params, shape))
    target = targets(params, shape)
    clients = [build(params, shape, 4, seed=seed, target_shape=target) for seed in range(3)]
    stacked, _ = stack_module_state(clients)
    draw = torch.Generator().manual_seed(1)
    x, y = torch.rand(3, 6, *shape, generator=draw), torch.randint(4, (3, 6, *target), generator=draw)

    def loss(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(model, weights, (x,)), y)

    together = vmap(grad(loss))(stacked, x, y)
    for index, client in enumerate(clients):
        nn.functional.cross_entropy(client(x[index]), y[index]).backward()  # type: ignore[no-untyped-call]
        for name, parameter in client.named_parameters():
            torch.testing.assert_close(together[name][index], parameter.grad, rtol=1e-3, atol=1e-5)


@each_model
def test_no_batch_norm_and_no_state_besides_parameters(params: ModelChoice, shape: tuple[int, ...]) -> None:
    model = build(params, shape, 4, seed=0, target_shape=targets(params, shape))
    assert not [module for module in model.modules() if "BatchNorm" in type(module).__name__]
    assert not list(model.buffers())


def test_small_images_are_padded_and_larger_ones_are_not() -> None:
    assert any(isinstance(module, nn.ZeroPad2d) for module in CNN((1, 15, 16), 10).modules())
    assert not any(isinstance(module, nn.ZeroPad2d) for module in CNN((1, 16, 16), 10).modules())
    padded = CNN((1, 8, 11), 10).features[0]  # type: ignore[index]
    assert padded(torch.ones(1, 1, 8, 11)).shape == (1, 1, 16, 16)
    assert padded(torch.ones(1, 1, 8, 11)).sum() == 88


@pytest.mark.parametrize(
    "params", [CNNParams(), ResNet18GNParams(), UNetParams()], ids=lambda value: value.name
)
def test_convolutions_refuse_tables(params: ModelChoice) -> None:
    with pytest.raises(UsageError, match=r"images.*\(64,\).*mlp"):
        build(params, (64,), 10, seed=0)


def test_odd_width_is_refused_with_its_value() -> None:
    with pytest.raises(UsageError, match=r"width .* got 3"):
        MODELS.load("resnet18_gn")((3, 8, 8), 10, width=3)


def test_a_u_net_gives_every_pixel_its_logits_whatever_the_sides() -> None:
    for height, width in ((4, 4), (5, 7), (16, 12)):
        model = build(UNetParams(width=2), (1, height, width), 3, 0, (height, width))
        assert model(torch.zeros(2, 1, height, width)).shape == (2, 3, height, width)


def test_a_u_net_refuses_what_it_cannot_pool_twice_and_odd_widths() -> None:
    with pytest.raises(UsageError, match=r"at least 4 x 4 pixels, these have 3 x 8"):
        build(UNetParams(), (1, 3, 8), 2, 0, (3, 8))
    with pytest.raises(UsageError, match=r"width .* got 3"):
        MODELS.load("unet")((1, 8, 8), 2, width=3)


def test_a_classifier_is_no_segmenter_and_a_segmenter_no_classifier() -> None:
    with pytest.raises(UsageError, match=r"returns \(2, 2\) .* \(2, 2, 8, 8\) .* at every pixel"):
        build(CNNParams(), (1, 8, 8), 2, 0, (8, 8))
    with pytest.raises(UsageError, match=r"returns \(2, 2, 8, 8\) .* \(2, 2\) are needed"):
        build(UNetParams(), (1, 8, 8), 2, 0)
