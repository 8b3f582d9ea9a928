"""Strengths of the feature shift: one draw for each client, an attribute of the client like its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedbal.data.dataset import FloatArray
from fedbal.errors import UsageError
from fedbal.seeding import stream

COLUMNS = {
    "rotation": "rotation_degrees",
    "gaussian_noise": "noise_std",
    "brightness": "brightness_delta",
}
"""Shift and the column of ``clients.csv`` with its strength."""


@dataclass(frozen=True)
class ClientShift:
    """What shifts the features of each client.

    Attributes
    ----------
    name : str
        ``rotation``, ``gaussian_noise`` or ``brightness``.
    strengths : numpy.ndarray
        ``(clients,)`` float64.
    seed : int
        Partition seed, for what is drawn row by row.
    """

    name: str
    strengths: FloatArray
    seed: int
    global_test: bool = False
    """Whether the rows of the global test set are shifted too, each as a client's."""

    @property
    def column(self) -> str:
        """Name of the strength among the clients' attributes."""
        return COLUMNS[self.name]


def draw_shift(
    name: str,
    names: Sequence[str],
    input_shape: tuple[int, ...],
    seed: int,
    *,
    low: float = 0.0,
    high: float = 0.0,
    choices: Sequence[float] | None = None,
    global_test: bool = False,
) -> ClientShift:
    """Draw each client's strength.

    Parameters
    ----------
    name : str
        Which shift.
    names : sequence of str
        Client keys; each has a stream of its own.
    input_shape : tuple of int
        Shape of one row.
    seed : int
        Partition seed.
    low, high : float
        Strengths are uniform between the two.
    choices : sequence of float, optional
        Strengths are one of these instead, all equally likely.

    global_test : bool
        Whether the rows of the global test set are shifted too.

    Raises
    ------
    UsageError
        Vectors are to be rotated or made brighter.
    """
    if name != "gaussian_noise" and len(input_shape) != 3:
        raise UsageError(
            f"data.feature_shift: {name} needs images (channels, height, width), but one row of this dataset has "
            f"shape {tuple(input_shape)}; vectors can have gaussian_noise."
        )
    strengths = np.zeros(len(names))
    for client, key in enumerate(names):
        draw = stream(seed, "feature-shift", name, key)
        strengths[client] = draw.uniform(low, high) if choices is None else draw.choice(choices)
    return ClientShift(name, strengths, seed, global_test)
