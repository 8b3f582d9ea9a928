"""A small U-Net: a class at every pixel.

Ronneberger, Fischer, Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015, with two
levels instead of four, padded convolutions so that masks keep the size of the image, nearest-neighbour upsampling
in place of transposed convolutions, and Wu and He, "Group normalization", ECCV 2018, with 2 groups after every
convolution: running statistics have no meaning on an average of non-IID clients.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from fedbal.errors import UsageError
from fedbal.models.base import Classifier, image_shape

GROUPS = 2
SMALLEST = 4
"""Pixels a side below which the second pooling has nothing left."""


class UNet(Classifier):
    """Two levels down and up with skip connections; the features are (b, width, height, width of the image).

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image, both sides at least 4 pixels.
    num_classes : int
        Classes of a pixel, the background included.
    width : int
        Channels at full resolution, even and >= 2 (default: 8); the levels below have 2 and 4 times as many.

    Raises
    ------
    UsageError
        The inputs are not images or too small, or ``width`` is odd or below 2.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, width: int = 8) -> None:
        if width < 2 or width % GROUPS:
            raise UsageError(f"model 'unet': width must be even and >= 2, got {width}.")
        channels, *sides = image_shape(input_shape, "unet")
        if min(sides) < SMALLEST:
            raise UsageError(
                f"model 'unet' needs images of at least {SMALLEST} x {SMALLEST} pixels, these have {sides[0]} x "
                f"{sides[1]}; choose larger ones."
            )
        head = nn.Conv2d(width, num_classes, 1)
        super().__init__(Levels(channels, width), width, num_classes, classifier=head)


class Levels(nn.Module):
    """Everything of a U-Net but its last layer: (b, channels, h, w) to (b, width, h, w)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down1 = _twice(channels, width)
        self.down2 = _twice(width, 2 * width)
        self.bottom = _twice(2 * width, 4 * width)
        self.up2 = _twice(4 * width + 2 * width, 2 * width)
        self.up1 = _twice(2 * width + width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of every pixel."""
        fine = self.down1(x)
        coarse = self.down2(max_pool2d(fine, 2))
        deep = self.bottom(max_pool2d(coarse, 2))
        up: Tensor = self.up1(_joined(self.up2(_joined(deep, coarse)), fine))
        return up


def _joined(below: Tensor, skip: Tensor) -> Tensor:
    """Enlarge ``below`` to the size of ``skip`` and put both beside each other."""
    return torch.cat([interpolate(below, size=skip.shape[-2:], mode="nearest"), skip], dim=1)


def _twice(size_in: int, size_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in (size_in, size_out):
        layers += [
            nn.Conv2d(size, size_out, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, size_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
