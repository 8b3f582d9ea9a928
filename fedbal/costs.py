"""What is known about the cost of training clients one by one and at once: measured, shipped, the same everywhere.

A run's bytes depend on its engine, so the choice must not depend on the machine. The figures are milliseconds of
one core a client update (Intel Xeon, torch 2.13, recorded steps, median of five): SGD, one epoch of 100 samples
in batches of 10; at once with the chunk in brackets.

=========================== ===== ========================================= ====================
model (parameters)          loop  at once                                   choice
=========================== ===== ========================================= ====================
logistic 60-10 (610)        .30   .28 (4), .15 (8), .076 (25), .045 (100)   100, from 8 clients
the same, proximal term     .47   .38 (4), .22 (8), .11 (25), .073 (100)    100, from 8 clients
mlp 64-64-10 (4,810)        .50   .37 (4), .22 (8), .12 (25), .11 (50)      50, from 8 clients
mlp 100-128-64-10 (21,834)  .72   .57 (4), .44 (8), .35 (25), .32 (50)      50, from 8 clients
mlp 784-64-10 (50,890)      .75   .69 (8), .56 (25), .54 (50)               25, from 20 clients
mlp 256-200-10 (53,410)     .79   .86 (4), .78 (8), .65 (25), .60 (50)      25, from 20 clients
mlp 784-200-10 (159,010)    1.5   2.1 (4), 1.9 (10), 2.3 (25)               loop
cnn on 28 x 28 (44,426)     10    11 (4), 9.9 (10), 9.7 (25)                loop
=========================== ===== ========================================= ====================

Clients of very unequal sizes gain less, for the largest is alone in the end: logistic, 20 epochs of 10 with a
proximal term, 10 clients with 45 to 4,645 samples take 49 each in the loop and 56 at once (5). Compiled, one core
trains the small MLP in .09; several threads gain nothing by it. Convolutions gain nothing on a CPU, where their
kernels are made for one weight and many images. The rows for CUDA are estimates, not measurements.
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
    Cost("cpu", ("dense",), 60_000, 25, 20),
    Cost("cuda", ("dense", "convolutional"), 200_000, 64, 2),
    Cost("cuda", ("dense", "convolutional"), 2_000_000, 32, 2),
    Cost("cuda", ("dense", "convolutional"), 20_000_000, 8, 2),
)
"""The first row that fits decides; where none fits, clients are trained one after the other."""

CARD_ROWS = 8192
"""Samples of all clients in one step on a card: more keep no card busier and only take its memory. An estimate."""

STEPS_THAT_PAY_COMPILATION = 10_000_000
"""Minibatch steps of all clients of a run beyond which compiling, which saves one worker microseconds of each on
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
