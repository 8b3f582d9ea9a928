"""The models of the cases as plain torch modules; weights in the order in which fedbal names them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def make_net(name: str, shapes: Sequence[tuple[int, ...]], input_shape: Sequence[int]) -> nn.Module:
    """Return a network whose parameters have ``shapes``.

    Parameters
    ----------
    name : str
        ``logistic``, ``mlp``, ``cnn`` or ``resnet18_gn``.
    shapes : sequence of tuple of int
        Shapes of all weights and biases.
    input_shape : sequence of int
        Shape of one row.

    Raises
    ------
    ValueError
        The name is none of these, or the network has other shapes.
    """
    makers = {"logistic": _dense, "mlp": _dense, "cnn": _cnn, "resnet18_gn": _resnet}
    if name not in makers:
        raise ValueError(f"no model {name!r}; there are {', '.join(makers)}")
    net = makers[name](shapes, tuple(input_shape))
    found = [tuple(parameter.shape) for parameter in net.parameters()]
    if found != [tuple(shape) for shape in shapes]:
        raise ValueError(f"{name} has weights {found}, the task {list(shapes)}")
    return net


def _dense(shapes: Sequence[tuple[int, ...]], input_shape: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()] if len(input_shape) > 1 else []
    for size_out, size_in in (shape for shape in shapes if len(shape) == 2):
        layers += [nn.Linear(size_in, size_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cnn(shapes: Sequence[tuple[int, ...]], input_shape: tuple[int, ...]) -> nn.Module:
    flat, classes = shapes[4][1], shapes[-1][0]
    return nn.Sequential(
        *(nn.Conv2d(input_shape[0], 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(flat, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, classes),
    )


def _resnet(shapes: Sequence[tuple[int, ...]], input_shape: tuple[int, ...]) -> nn.Module:
    from fedbal.models.resnet import ResNet18GN

    return ResNet18GN(input_shape, shapes[-1][0], shapes[0][0])
