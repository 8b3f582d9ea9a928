"""What is known about the cost of training clients one by one and at once: measured, shipped, the same everywhere.

A run's bytes depend on its engine, so the choice must not depend on the machine. The figures are wall milliseconds
a client update on one core of an AMD EPYC with torch 2.13, SGD, one epoch of 100 samples in batches of 10 unless
said otherwise; the loop's, then those of chunks of the given sizes.

====================================== ====== =========================== ======================================
model (parameters)                     loop   at once                     choice
====================================== ====== =========================== ======================================
logistic 60-10 (610)                   1.0    .07 (100)                   100 at once, from 4 clients on
mlp 64-64-10 (4,810)                   .81    .65 (10) .30 (25) .18 (50)  50 at once, from 8 clients on
mlp 784-200-10 (159,010)               3.2    memory-bound beyond 10      10 at once, from 8 clients on
cnn 8/16 channels, 28 x 28             11.2   9.3 (25 to 50)              loop
cnn 16/32 channels, 32 x 32            1      1.5 times the loop          loop
====================================== ====== =========================== ======================================

Convolutions gain little or lose on a CPU, where their kernels are tuned for one weight and many images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layers = Literal["dense", "convolutional", "other"]


@dataclass(frozen=True)
class Cost:
    """When it pays to train clients at once, and how many.

    Attributes
    ----------
    device : {"cpu", "cuda"}
        Where.
    layers : tuple of str
        Kinds of models that this is about.
    parameters : int
        Trainable numbers, at most.
    chunk : int
        Clients at once, at most.
    fewest : int
        Clients at once below which the loop is no slower.
    """

    device: str
    layers: tuple[Layers, ...]
    parameters: int
    chunk: int
    fewest: int


COSTS = (
    Cost("cpu", ("dense",), 2_000, 100, 4),
    Cost("cpu", ("dense",), 20_000, 50, 8),
    Cost("cpu", ("dense",), 60_000, 25, 8),
    Cost("cpu", ("dense",), 200_000, 10, 8),
    Cost("cuda", ("dense", "convolutional"), 200_000, 64, 2),
    Cost("cuda", ("dense", "convolutional"), 2_000_000, 32, 2),
    Cost("cuda", ("dense", "convolutional"), 20_000_000, 8, 2),
)
"""The first row that fits decides; where none fits, clients are trained one after the other."""

STEPS_THAT_PAY_COMPILATION = 200_000
"""Minibatch steps of all clients of a run beyond which compiling is worth its 10 to 20 seconds on a small model."""
SMALL = 20_000
"""Parameters below which most of a step is overhead, which compiling removes."""


def best(device: str, layers: Layers, parameters: int, cohort: int) -> int | None:
    """Return how many clients to train at once; None: one after the other.

    At most half of the cohort, so that two workers have work.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        Where.
    layers : {"dense", "convolutional", "other"}
        What the model is made of.
    parameters : int
        Trainable numbers.
    cohort : int
        Clients of a round.
    """
    half = -(-cohort // 2)
    for cost in COSTS:
        if cost.device == device and layers in cost.layers and parameters <= cost.parameters:
            chunk = min(cost.chunk, half)
            return chunk if chunk >= cost.fewest else None
    return None
