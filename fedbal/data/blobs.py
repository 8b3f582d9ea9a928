"""Blobs: generated images of several sites with masks, for segmentation over sites of different look and quality.

An image holds one to three blobs. A blob is an ellipse with soft edges: with z the distance to its centre in units
of its half axes, its field is ``2^(-z^2)``; the mask is where the largest field exceeds one half, and the blobs are
as bright as their field. Two fainter smears, which are no blobs, and white noise make it a task. A site adds its
own brightness, contrast and stripes, drawn once; the true masks know nothing of them.

A noisy site draws some masks wrong: eroded or dilated by some pixels (a square structuring element), moved, or left
empty. Clients train and validate on what was drawn; test rows, a site's own included, have the true masks.

Every site has streams of its own: how many images one site has changes nothing at the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedbal.data.dataset import Dataset, FloatArray, IntArray, Request, Scaling
from fedbal.seeding import stream

MaskNoise = Literal["mixed", "erode", "dilate", "shift", "missing"]
KINDS = ("erode", "dilate", "shift", "missing")
CLASSES = ("background", "blob")
MOST_BLOBS = 3
SMEARS = 2
SMEAR = 0.4
"""Brightness of a smear, as a share of a blob's."""
HALF_AXES = (0.08, 0.2)
"""Half axes of blobs, as shares of the image's side."""
GROUND = 0.35
"""Brightness of the ground, from black 0 to white 1."""


@dataclass(frozen=True)
class Look:
    """How the images of a site look: ``brightness`` is added, ``contrast`` multiplies, stripes lie over all."""

    brightness: float
    contrast: float
    amplitude: float
    waves: tuple[float, float]


def load(
    request: Request,
    *,
    sites: int,
    images: int,
    test_images: int,
    size: int,
    contrast: float,
    noise: float,
    intensity_shift: float,
    contrast_shift: float,
    texture_shift: float,
    noisy_sites: list[int],
    mask_noise: MaskNoise,
    mask_noise_rate: float,
    mask_noise_pixels: int,
    small_sites: list[int],
    small_share: float,
) -> Dataset:
    """Generate the sites; column ``site`` holds the site of each image.

    Parameters
    ----------
    request : Request
        Its seed gives the streams.
    sites : int
        Number of sites, >= 1.
    images, test_images : int
        Images of a site, and of the global test set over all sites, both >= 1.
    size : int
        Height and width in pixels.
    contrast, noise : float
        Brightness of a blob over its surroundings, and standard deviation of the noise.
    intensity_shift, contrast_shift, texture_shift : float
        How far sites differ in brightness, contrast and stripes.
    noisy_sites : list of int
        Sites that draw wrong masks.
    mask_noise : str
        ``erode``, ``dilate``, ``shift``, ``missing``, or one of these at random: ``mixed``.
    mask_noise_rate : float
        Share of a noisy site's masks that are wrong, in [0, 1].
    mask_noise_pixels : int
        Pixels by which a mask is eroded, dilated or moved.
    small_sites : list of int
        Sites with few images.
    small_share : float
        Share of the images that these have, in (0, 1].
    """
    seed = request.seed
    counts = [max(1, round(images * small_share)) if site in small_sites else images for site in range(sites)]
    tests = [len(range(site, test_images, sites)) for site in range(sites)]
    x: list[NDArray[np.uint8]] = []
    x_test: list[NDArray[np.uint8]] = []
    truth: list[IntArray] = []
    y_test: list[IntArray] = []
    drawn: list[IntArray] = []
    for site, (count, held) in enumerate(zip(counts, tests, strict=True)):
        look = draw_look(seed, site, intensity_shift, contrast_shift, texture_shift)
        for n, purpose, pictures, masks in ((count, "rows", x, truth), (held, "test", x_test, y_test)):
            made = _images(stream(seed, "blobs", purpose, site), n, size, contrast, noise, look)
            pictures.append(made[0])
            masks.append(made[1])
        rate = mask_noise_rate if site in noisy_sites else 0.0
        wrong = stream(seed, "blobs", "mask-noise", site)
        drawn.append(wrong_masks(truth[-1], mask_noise, rate, mask_noise_pixels, wrong))
    names = np.array([f"site-{site}" for site in range(sites)])
    return Dataset(
        name="blobs",
        x=np.concatenate(x),
        y=np.concatenate(truth),
        x_test=np.concatenate(x_test),
        y_test=np.concatenate(y_test),
        classes=CLASSES,
        scaling=Scaling(255.0, (0.5,), (0.25,)),
        columns={"site": np.repeat(names, counts)},
        test_columns={"site": np.repeat(names, tests)},
        source=f"generated: blobs, {sites} sites, seed {seed}",
        licence="none needed",
        drawn_y=np.concatenate(drawn) if noisy_sites else None,
    )


def draw_look(seed: int, site: int, intensity: float, contrast: float, texture: float) -> Look:
    """Draw how a site's images look; shifts of 0 make all sites alike."""
    draw = stream(seed, "blobs", "look", site)
    brightness, factor, amplitude = draw.uniform(-1.0, 1.0), draw.uniform(-1.0, 1.0), draw.uniform(0.0, 1.0)
    angle, cycles = draw.uniform(0.0, np.pi), draw.uniform(2.0, 6.0)
    waves = (2.0 * np.pi * cycles * np.cos(angle), 2.0 * np.pi * cycles * np.sin(angle))
    return Look(intensity * brightness, 1.0 + contrast * factor, texture * amplitude, waves)


def _images(
    draw: np.random.Generator, n: int, size: int, contrast: float, noise: float, look: Look
) -> tuple[NDArray[np.uint8], IntArray]:
    """Return images (n, 1, size, size) and their true masks (n, size, size)."""
    axis = (np.arange(size) + 0.5) / size
    count = draw.integers(1, MOST_BLOBS + 1, n)
    blobs = _fields(draw, n, MOST_BLOBS, size)
    field = np.where(np.arange(MOST_BLOBS)[:, None, None] < count[:, None, None, None], blobs, 0.0).max(
        axis=1
    )
    smears = _fields(draw, n, SMEARS, size).max(axis=1)
    phase = draw.uniform(0.0, 2.0 * np.pi, n)[:, None, None]
    stripes = np.sin(look.waves[0] * axis[:, None] + look.waves[1] * axis + phase)
    shade = contrast * look.contrast * np.maximum(field, SMEAR * smears)
    pixels = GROUND + look.brightness + shade + look.amplitude * stripes
    pixels += noise * draw.standard_normal((n, size, size))
    image = np.rint(255.0 * np.clip(pixels, 0.0, 1.0)).astype(np.uint8)
    return image[:, None], (field > 0.5).astype(np.int64)


def _fields(draw: np.random.Generator, n: int, blobs: int, size: int) -> FloatArray:
    """Return the fields of ellipses, (n, blobs, size, size), 1 at a centre that is a pixel's middle."""
    axis = (np.arange(size) + 0.5) / size
    shape = (2, n, blobs, 1, 1)
    low, high = int(0.15 * size), int(0.85 * size)
    centre = axis[draw.integers(low, high, shape)]
    half = draw.uniform(*HALF_AXES, shape)
    angle = draw.uniform(0.0, np.pi, shape[1:])
    down, right = axis[:, None] - centre[0], axis - centre[1]
    along = (np.cos(angle) * right + np.sin(angle) * down) / half[0]
    across = (np.cos(angle) * down - np.sin(angle) * right) / half[1]
    field: FloatArray = np.exp2(-(np.square(along) + np.square(across)))
    return field


def wrong_masks(
    masks: IntArray, kind: MaskNoise, rate: float, pixels: int, draw: np.random.Generator
) -> IntArray:
    """Return masks of which some are drawn wrong.

    Parameters
    ----------
    masks : ndarray of int64, (n, h, w)
        True masks, 0 or 1.
    kind : str
        ``erode``, ``dilate``, ``shift``, ``missing``, or ``mixed``: each wrong mask one of these.
    rate : float
        Share of wrong masks, in [0, 1]: exactly ``round(rate * n)`` of them, chosen at random.
    pixels : int
        By how much, >= 1.
    draw : numpy.random.Generator
        The site's own stream.
    """
    drawn = masks.copy()
    for row in np.sort(draw.permutation(len(masks))[: round(rate * len(masks))]).tolist():
        how = KINDS[int(draw.integers(len(KINDS)))] if kind == "mixed" else kind
        angle = draw.uniform(0.0, 2.0 * np.pi)
        if how == "missing":
            drawn[row] = 0
        elif how == "shift":
            step = (round(pixels * float(np.sin(angle))), round(pixels * float(np.cos(angle))))
            drawn[row] = moved(masks[row], *step)
        else:
            drawn[row] = dilated(masks[row], pixels) if how == "dilate" else eroded(masks[row], pixels)
    return drawn


def moved(mask: IntArray, down: int, right: int) -> IntArray:
    """Move a mask (h, w); what comes in from outside is background."""
    height, width = mask.shape
    edge = max(abs(down), abs(right))
    padded = np.pad(mask, edge)
    return padded[edge - down : edge - down + height, edge - right : edge - right + width]


def dilated(mask: IntArray, pixels: int) -> IntArray:
    """Grow a mask (h, w) of 0 and 1 by some pixels in the eight directions."""
    steps = range(-pixels, pixels + 1)
    down = np.maximum.reduce([moved(mask, step, 0) for step in steps])
    grown: IntArray = np.maximum.reduce([moved(down, 0, step) for step in steps])
    return grown


def eroded(mask: IntArray, pixels: int) -> IntArray:
    """Shrink a mask (h, w) of 0 and 1 by some pixels; outside of the image counts as foreground."""
    return 1 - dilated(1 - mask, pixels)
