"""ResNet-18 for small images, with GroupNorm.

He et al., "Deep residual learning for image recognition", CVPR 2016, with the 3x3 stem without max-pooling
that is usual on 32x32 images, and Wu and He, "Group normalization", ECCV 2018, with 2 groups in place of
BatchNorm, whose running statistics have no meaning on an average of non-IID clients.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from fedbal.errors import UsageError
from fedbal.models.base import Classifier, image_shape

GROUPS = 2


class ResNet18GN(Classifier):
    """Eight residual blocks in four stages; the features are the averaged last stage.

    Parameters
    ----------
    input_shape : tuple of int
        (channels, height, width) of one image.
    num_classes : int
        Classes of the task.
    width : int
        Channels of the first stage, even and >= 2 (default: 64, the published network); the later stages
        have 2, 4 and 8 times as many.

    Raises
    ------
    UsageError
        The inputs are not images, or ``width`` is odd or below 2.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, width: int = 64) -> None:
        if width < 2 or width % GROUPS:
            raise UsageError(f"model 'resnet18_gn': width must be even and >= 2, got {width}.")
        channels, _, _ = image_shape(input_shape, "resnet18_gn")
        layers: list[nn.Module] = [_conv(channels, width), nn.GroupNorm(GROUPS, width), nn.ReLU()]
        size = width
        for stage in range(4):
            size_out = width * 2**stage
            layers += [
                ResidualBlock(size, size_out, 1 if stage == 0 else 2),
                ResidualBlock(size_out, size_out, 1),
            ]
            size = size_out
        super().__init__(nn.Sequential(*layers, SpatialMean()), size, num_classes)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (b, size_in, h, w) to (b, size_out, h / stride, w / stride)."""

    def __init__(self, size_in: int, size_out: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv(size_in, size_out, stride),
            nn.GroupNorm(GROUPS, size_out),
            nn.ReLU(),
            _conv(size_out, size_out),
            nn.GroupNorm(GROUPS, size_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or size_in != size_out:
            projection = nn.Conv2d(size_in, size_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.GroupNorm(GROUPS, size_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(residual(x) + shortcut(x))."""
        return relu(self.residual(x) + self.shortcut(x))


class SpatialMean(nn.Module):
    """Mean over height and width: (b, c, h, w) to (b, c)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of each channel."""
        return x.mean((2, 3))


def _conv(size_in: int, size_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(size_in, size_out, 3, stride, padding=1, bias=False)
