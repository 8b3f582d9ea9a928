"""Feature shift: what makes one client's inputs look different from another's, batch by batch.

Rotated pictures, a noisy sensor, a brighter light: the strength is the client's own, the labels stay. Pixels are
shifted as they were recorded, divided by their full scale (in [0, 1] for uint8) and not yet standardised.
Rows of vectors can only be noisy.

References: Hsieh et al., "The Non-IID Data Quagmire of Decentralized Machine Learning", ICML 2020, for the term;
Li et al., "Federated Learning on Non-IID Data Silos: An Experimental Study", ICDE 2022, section 4.2, for noise that
differs from client to client.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fedbal.seeding import entropy


class FeatureShift(Protocol):
    """What is done to a client's inputs."""

    def __call__(self, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the batch ``x`` (b, ...), float32, shifted; ``rows`` (b,) are its rows of the pool."""
        ...


@dataclass(frozen=True)
class Rotation:
    """Rotate images (b, channels, height, width) about their centre, bilinear, zero outside.

    Attributes
    ----------
    degrees : float
        Counter-clockwise; 0 is the identity, bit for bit.
    """

    degrees: float

    def __call__(self, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the batch rotated."""
        if self.degrees % 360.0 == 0.0:
            return x
        angle = math.radians(self.degrees)
        cosine, sine = math.cos(angle), math.sin(angle)
        # affine_grid counts both axes from -1 to 1: without the side ratio an oblong image would be sheared.
        ratio = x.shape[2] / x.shape[3]
        theta = [[cosine, -sine * ratio, 0.0], [sine / ratio, cosine, 0.0]]
        grid = F.affine_grid(
            torch.tensor([theta], dtype=x.dtype, device=x.device), [1, *x.shape[1:]], align_corners=False
        )
        return F.grid_sample(
            x, grid.expand(len(x), -1, -1, -1), mode="bilinear", padding_mode="zeros", align_corners=False
        )


@dataclass(frozen=True)
class MixedRotation:
    """Rotate each image by an angle that belongs to its row: the same in every epoch, round, process and runtime.

    Attributes
    ----------
    angles : tuple of float
        Counter-clockwise, in degrees.
    shares : tuple of float
        How likely each is, >= 0, of sum 1.
    seed : int
        Partition seed.
    client : str
        Client key.
    """

    angles: tuple[float, ...]
    shares: tuple[float, ...]
    seed: int
    client: str

    def __call__(self, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the batch, every image rotated by its own angle."""
        chosen = self.choices(rows)
        result = x.clone()
        for choice in np.unique(chosen).tolist():
            index = torch.from_numpy(np.flatnonzero(chosen == choice)).to(x.device)
            result[index] = Rotation(self.angles[choice])(x[index], rows)
        return result

    def choices(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the position of each row's angle, shape (b,)."""
        key, ends = entropy(self.seed, "row-rotation", self.client), np.cumsum(self.shares)
        draws = [
            np.random.Generator(np.random.Philox(key=key, counter=int(row) << 128)).random() for row in rows
        ]
        # Rounding can leave the last end below 1.
        found = np.searchsorted(ends, np.array(draws, np.float64), side="right")
        return np.minimum(found, len(ends) - 1).astype(np.int64)


@dataclass(frozen=True)
class GaussianNoise:
    """Add white noise that belongs to the row: the same in every epoch, round, process and runtime.

    A counter-based generator keyed by (seed, client) and counted by the row gives it, so nothing is stored.

    Attributes
    ----------
    std : float
        Standard deviation, >= 0, in units of the scaled values; 0 is the identity, bit for bit.
    seed : int
        Partition seed.
    client : str
        Client key.
    """

    std: float
    seed: int
    client: str

    def __call__(self, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the batch with its rows' noise added."""
        if self.std == 0.0 or not len(x):
            return x
        key = entropy(self.seed, "feature-noise", self.client)
        size = math.prod(x.shape[1:])
        draws = [
            np.random.Generator(np.random.Philox(key=key, counter=int(row) << 128)).standard_normal(
                size, dtype=np.float32
            )
            for row in rows
        ]
        return x + self.std * torch.from_numpy(np.stack(draws)).view(x.shape).to(x.device)


@dataclass(frozen=True)
class Brightness:
    """Add a constant to every pixel and cut off at black and white: pixels stay in [0, 1].

    Attributes
    ----------
    delta : float
        In [-1, 1]; 0 is the identity, bit for bit.
    """

    delta: float

    def __call__(self, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the batch brighter or darker."""
        return x if self.delta == 0.0 else (x + self.delta).clamp(0.0, 1.0)


def shift_of(name: str, strength: float, seed: int, client: str) -> FeatureShift:
    """Return a client's shift.

    Parameters
    ----------
    name : str
        ``rotation`` (degrees), ``gaussian_noise`` (standard deviation) or ``brightness`` (added).
    strength : float
        The client's own.
    seed : int
        Partition seed.
    client : str
        Client key.
    """
    if name == "rotation":
        return Rotation(strength)
    if name == "brightness":
        return Brightness(strength)
    if name == "gaussian_noise":
        return GaussianNoise(strength, seed, client)
    raise ValueError(f"unknown feature shift {name!r}")
