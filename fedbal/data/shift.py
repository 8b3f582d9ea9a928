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
        ``(clients,)`` float64; the mean where rows of one client differ.
    seed : int
        Partition seed, for what is drawn row by row.
    global_test : str
        ``none``: the global test set is not shifted; ``clients``: each of its rows as a client's; ``angles``: the
        choices in turn.
    choices : tuple of float
        Strengths to choose from, where they are not from a range.
    shares : numpy.ndarray, optional
        ``(clients, choices)`` shares of the strengths among a client's rows; None: all its rows have its own.
    """

    name: str
    strengths: FloatArray
    seed: int
    global_test: str = "none"
    choices: tuple[float, ...] = ()
    shares: FloatArray | None = None

    @property
    def column(self) -> str:
        """Name of the strength among the clients' attributes."""
        return COLUMNS[self.name]

    def decides(self) -> bytes:
        """Return what decides the shift of every training row, for the fingerprint."""
        mixed = b"" if self.shares is None else np.array(self.choices).tobytes() + self.shares.tobytes()
        return f"{self.name}|{self.seed}".encode() + self.strengths.tobytes() + mixed


def draw_shift(
    name: str,
    names: Sequence[str],
    input_shape: tuple[int, ...],
    seed: int,
    *,
    low: float = 0.0,
    high: float = 0.0,
    choices: Sequence[float] | None = None,
    even: bool = False,
    concentration: float | None = None,
    global_test: str = "none",
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
    even : bool
        Nothing is drawn: choices in turn, or strengths evenly spaced from low to high.
    concentration : float, optional
        A client's rows have several of the choices, by shares from a Dirichlet draw of this total concentration.
    global_test : str
        What is done to the global test set.

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
    kept = tuple(map(float, choices or ()))
    if concentration is not None:
        alpha = np.full(len(kept), concentration / len(kept))
        draws = [stream(seed, "feature-shift", name, "mixture", key).dirichlet(alpha) for key in names]
        # A tiny concentration can underflow to no share at all.
        shares = np.nan_to_num(np.stack(draws), nan=1.0 / len(kept))
        return ClientShift(name, shares @ np.array(kept), seed, global_test, kept, shares)
    if even:
        strengths = np.resize(kept, len(names)) if kept else np.linspace(low, high, len(names))
        return ClientShift(name, strengths.astype(np.float64), seed, global_test, kept)
    strengths = np.zeros(len(names))
    for client, key in enumerate(names):
        draw = stream(seed, "feature-shift", name, key)
        strengths[client] = draw.uniform(low, high) if choices is None else draw.choice(choices)
    return ClientShift(name, strengths, seed, global_test, kept)
