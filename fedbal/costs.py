"""What is known about the cost of training clients one by one and at once: measured, shipped, the same everywhere.

A run's bytes depend on its engine, so the choice must not depend on the machine. The figures are milliseconds of
one core a client update (AMD EPYC, torch 2.13, other work on the machine, best of eight), plain SGD and 100 samples
in batches of 10; at once with the chunk in brackets. One epoch, two for the logistic models.

========================================= ===== ===================================== ====================
model (parameters)                        loop  at once                               choice
========================================= ===== ===================================== ====================
logistic 60-10 (610)                      .77   .62 (4), .37 (8), .18 (25), .13 (100) 100, from 8 clients
the same with a proximal term             1.3   .91 (4), .50 (8), .26 (25), .17 (100) 100, from 8 clients
mlp 64-64-10 (4,810)                      .65   .57 (4), .36 (8), .23 (25), .18 (50)  50, from 8 clients
mlp 100-128-64-10 (21,834)                1.0   1.0 (4), .79 (8), .56 (25), .51 (50)  50, from 8 clients
mlp 256-200-10 (53,410)                   1.0   1.5 (4), 1.1 (8), .98 (25)            loop
mlp 784-200-10 (159,010)                  2.1   3.3 (4), 2.9 (8), 3.3 (25)            loop
cnn on 28 x 28 (44,426), 600 samples in   42    127 (5), 62 (10)                      loop
batches of 32
========================================= ===== ===================================== ====================

Clients of very unequal sizes gain less, for the largest is alone in the end: logistic, 20 epochs of 10 with a
proximal term, 10 clients with 45 to 4,645 samples take 94 each in the loop and 108 at once (5). Compiled, the small
MLP takes a tenth less than at once. Convolutions gain little or lose on a CPU, where their kernels are made for one
weight and many images. The rows for CUDA are estimates, not measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    Cost("cpu", ("dense",), 2_000, 100, 8),
    Cost("cpu", ("dense",), 30_000, 50, 8),
    Cost("cuda", ("dense", "convolutional"), 200_000, 64, 2),
    Cost("cuda", ("dense", "convolutional"), 2_000_000, 32, 2),
    Cost("cuda", ("dense", "convolutional"), 20_000_000, 8, 2),
)
"""The first row that fits decides; where none fits, clients are trained one after the other."""

CARD_ROWS = 8192
"""Samples of all clients in one step on a card: more keep no card busier and only take its memory. An estimate."""

STEPS_THAT_PAY_COMPILATION = 10_000_000
"""Minibatch steps of all clients of a run beyond which compiling, which saves one worker some microseconds of each on
a small model, is worth its 10 to 20 seconds."""
SMALL = 20_000
"""Parameters below which most of a step is overhead, which compiling removes."""


def best(
    device: str,
    layers: Layers,
    parameters: int,
    cohort: int,
    costs: Sequence[Cost] = COSTS,
    *,
    batch: int = 1,
) -> int | None:
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
    costs : sequence of Cost
        The table; the shipped one unless a machine's own is asked for.
    batch : int
        Samples a step of one client; on a card all clients' together are bounded, whatever card it is.
    """
    half = -(-cohort // 2)
    for cost in costs:
        if cost.device == device and layers in cost.layers and parameters <= cost.parameters:
            chunk = min(cost.chunk, half)
            if device == "cuda":
                chunk = min(chunk, CARD_ROWS // batch)
            return chunk if chunk >= cost.fewest else None
    return None
