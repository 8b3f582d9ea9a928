"""Models on the flattened input: logistic regression and the fully connected network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from fedbal.models.base import Classifier, flat_size


class Logistic(Classifier):
    """Multinomial logistic regression; the features are the flattened input.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one input.
    num_classes : int
        Classes of the task.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(nn.Flatten(), flat_size(input_shape), num_classes)


class MLP(Classifier):
    """Linear layers with ReLU; the features are the last hidden layer.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one input.
    num_classes : int
        Classes of the task.
    hidden : sequence of int
        Units of each hidden layer, >= 1 (default: [64]).
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, hidden: Sequence[int] = (64,)) -> None:
        sizes = [flat_size(input_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for size_in, size_out in pairwise(sizes):
            layers += [nn.Linear(size_in, size_out), nn.ReLU()]
        super().__init__(nn.Sequential(*layers), sizes[-1], num_classes)
