"""Random crops and flips of training images, drawn from a stream of their own for each client and round.

Four pixels of padding, a random crop back to size and a random mirror are what He et al., "Deep residual learning
for image recognition", CVPR 2016, section 4.2, train on CIFAR with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fedbal.errors import UsageError
from fedbal.seeding import stream

FLIP = 0.5
"""Probability that an image is mirrored."""


class Changes(NamedTuple):
    """What was drawn for a batch of b images."""

    shifts: Tensor | None
    """Row and column where each crop starts, (b, 2), int64."""
    mirrored: Tensor | None
    """Whether each image is mirrored, (b,), bool."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to a batch of training images.

    Attributes
    ----------
    crop_padding : int
        Pixels of padding on every side before a random crop back to the image's size, >= 0; 0: no crop. Padding
        is zero in the scaled image: the mean colour where images are standardised, black otherwise.
    horizontal_flip : bool
        Mirror each image with probability 1/2.
    """

    crop_padding: int = 0
    horizontal_flip: bool = False

    @property
    def active(self) -> bool:
        """Whether anything is done at all."""
        return self.crop_padding > 0 or self.horizontal_flip

    def require_images(self, input_shape: tuple[int, ...]) -> None:
        """Refuse inputs that cannot be cropped or flipped.

        Raises
        ------
        UsageError
            The inputs are not (channels, height, width), or a crop could miss the image altogether.
        """
        if not self.active:
            return
        if len(input_shape) != 3:
            raise UsageError(
                "client.augment needs images (channels, height, width), but one input of this dataset has shape "
                f"{tuple(input_shape)}; leave client.augment out."
            )
        side = min(input_shape[1:])
        if self.crop_padding >= side:
            raise UsageError(
                f"client.augment.crop_padding: got {self.crop_padding}; the images are {input_shape[1]} x "
                f"{input_shape[2]} pixels, so less than {side} is needed."
            )

    def draws(self, seed: int, client: str, server_round: int) -> np.random.Generator:
        """Return the stream of one client's round; batches draw from it in the order of the minibatches."""
        return stream(seed, "augment", client, server_round)

    def __call__(self, x: Tensor, generator: np.random.Generator) -> Tensor:
        """Return the batch (b, channels, height, width) augmented, every image by its own draw."""
        return self.apply(x, next(self.changes([len(x)], generator, x.device)))

    def rows(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a batch and its targets augmented, as in :meth:`apply_rows`."""
        return self.apply_rows(x, y, next(self.changes([len(x)], generator, x.device)))

    def changes(
        self, sizes: Sequence[int], generator: np.random.Generator, device: torch.device
    ) -> Iterator[Changes]:
        """Draw for batches of these sizes, one after the other; the draws go to the device once, all together."""
        shifts, mirrored = [], []
        for size in sizes:
            if self.crop_padding:
                shifts.append(generator.integers(0, 2 * self.crop_padding + 1, (size, 2)))
            if self.horizontal_flip:
                mirrored.append(generator.random(size) < FLIP)
        columns = [
            torch.split(torch.from_numpy(np.concatenate(drawn)).to(device), list(sizes))
            if drawn
            else [None] * len(sizes)
            for drawn in (shifts, mirrored)
        ]
        return (Changes(*each) for each in zip(*columns, strict=True))

    def apply(self, x: Tensor, changes: Changes) -> Tensor:
        """Return the batch with its changes."""
        if changes.shifts is not None:
            x = crop(x, changes.shifts, self.crop_padding)
        if changes.mirrored is not None:
            x = torch.where(changes.mirrored[:, None, None, None], x.flip(-1), x)
        return x

    def apply_rows(self, x: Tensor, y: Tensor, changes: Changes) -> tuple[Tensor, Tensor]:
        """Return a batch and its targets changed: labels (b,) stay, masks (b, height, width) move with images.

        Outside of a mask is background, class 0.
        """
        moved = self.apply(x, changes)
        return moved, (y if y.ndim == 1 or not self.active else self.apply(y[:, None], changes)[:, 0])


def crop(x: Tensor, shifts: Tensor, padding: int) -> Tensor:
    """Cut every image out of its padded self.

    Parameters
    ----------
    x : Tensor
        Images, (b, c, h, w).
    shifts : Tensor
        Row and column where each crop starts, (b, 2), integers in [0, 2 * padding].
    padding : int
        Zeros around each image, >= 0.

    Returns
    -------
    Tensor
        (b, c, h, w); a shift of ``padding`` gives the image itself.
    """
    _, channels, height, width = x.shape
    padded = F.pad(x, (padding, padding, padding, padding))
    rows = shifts[:, 0, None] + torch.arange(height, device=x.device)
    columns = shifts[:, 1, None] + torch.arange(width, device=x.device)
    images = torch.arange(len(x), device=x.device)
    colours = torch.arange(channels, device=x.device)
    return padded[
        images[:, None, None, None],
        colours[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None],
    ]
