"""The small convolutional network that federated papers use on MNIST-like and CIFAR-like images.

LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 1998, in the form of
Ye et al., "FedDisco", ICML 2023: conv 6@5, pool, conv 16@5, pool, fully connected 120, 84, classes.
62,006 parameters on 3x32x32 with 10 classes, 44,426 on 1x28x28.
"""

from __future__ import annotations

from torch import nn

from fedbal.models.base import Classifier, image_shape

SMALLEST = 16
"""Pixels a side below which the second pooling has nothing left."""


class CNN(Classifier):
    """Two convolutions with pooling, two hidden linear layers; the features are the 84 units.

    Images with a side below 16 pixels (digits: 8x8) are zero-padded to 16, evenly on both sides; from 16 on
    the network is the published one.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image.
    num_classes : int
        Classes of the task.

    Raises
    ------
    UsageError
        The inputs are not images.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        channels, height, width = image_shape(input_shape, "cnn")
        flat = 16 * _after_pooling(height) * _after_pooling(width)
        features = nn.Sequential(
            *_padding(height, width),
            *(nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(flat, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        )
        super().__init__(features, 84, num_classes)


def _padding(height: int, width: int) -> list[nn.Module]:
    rows, columns = max(0, SMALLEST - height), max(0, SMALLEST - width)
    if not rows and not columns:
        return []
    return [nn.ZeroPad2d((columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))]


def _after_pooling(side: int) -> int:
    return ((max(side, SMALLEST) - 4) // 2 - 4) // 2
