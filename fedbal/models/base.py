"""What a shipped model is: features and classifier, exposed separately."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn

from fedbal.errors import UsageError


class Classifier(nn.Module):
    """A network whose last linear layer is a module of its own.

    Rules that share only a part of the model, calibrate the last layer or compare representations need
    the two separately.

    Parameters
    ----------
    features : nn.Module
        Input (b, *input_shape) to representation (b, feature_size).
    feature_size : int
        Length of the representation.
    num_classes : int
        Classes of the task.
    classifier : nn.Module, optional
        What turns the representation into logits (default: a linear layer).

    Attributes
    ----------
    features, classifier : nn.Module
        ``forward(x)`` is ``classifier(features(x))``.
    feature_size : int
        Length of the representation.
    """

    named_init: ClassVar[bool] = True
    """Whether :func:`fedbal.models.build.build` draws the initial values, each parameter from the stream of
    its name; False in a subclass that sets them itself (pretrained weights) keeps what it set."""

    def __init__(
        self,
        features: nn.Module,
        feature_size: int,
        num_classes: int,
        classifier: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.classifier: nn.Module = classifier or nn.Linear(feature_size, num_classes)
        self.feature_size = feature_size

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, num_classes) of inputs (b, *input_shape)."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


def flat_size(input_shape: tuple[int, ...]) -> int:
    """Return the number of values in one input."""
    return math.prod(input_shape)


def image_shape(input_shape: tuple[int, ...], model: str) -> tuple[int, int, int]:
    """Return (channels, height, width), or say that ``model`` needs images.

    Raises
    ------
    UsageError
        The inputs are not (channels, height, width).
    """
    if len(input_shape) != 3:
        raise UsageError(
            f"model {model!r} needs images (channels, height, width), but one input of this dataset "
            f"has shape {tuple(input_shape)}; choose model mlp or logistic."
        )
    channels, height, width = input_shape
    return channels, height, width
