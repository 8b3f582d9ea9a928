"""What each rule gave each client over the rounds, beside what the client holds; of one seed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedbal.comparison.curves import client_weights
from fedbal.comparison.history import Floats, Ints

MOST_COLUMNS = 50
"""Rounds are put together so that no more columns remain."""


@dataclass(frozen=True)
class ClientsView:
    """Clients of a data set, and the weights that rules gave them.

    Attributes
    ----------
    seed : int
        Whose partition this is.
    names : tuple of str
        Clients shown, by training samples, most first.
    total : int
        How many clients there are.
    classes : tuple of str
        Names of the classes; empty for masks.
    samples : ndarray of int, (clients,)
        Training samples.
    mix : ndarray of int, (clients, classes)
        The same by class.
    rounds : ndarray of int, (columns,)
        First round of each column of weights.
    weights : mapping
        A method's weights, (clients, columns): mean over the rounds of the column in which the client was asked,
        NaN if it never was. Methods that do not say their weights are left out.
    """

    seed: int
    names: tuple[str, ...]
    total: int
    classes: tuple[str, ...]
    samples: Ints
    mix: Ints
    rounds: Ints
    weights: Mapping[str, Floats]


def clients_view(seed: int, directories: Mapping[str, Path]) -> ClientsView | None:
    """Read clients and weights of the runs of one seed.

    Parameters
    ----------
    seed : int
        The seed.
    directories : mapping
        Run directory of each method; all of them have the same partition.

    Returns
    -------
    ClientsView or None
        None if there is no run directory.
    """
    found = {label: client_weights(directory) for label, directory in directories.items()}
    if not found:
        return None
    first = next(iter(found.values()))
    last = max(len(one.rounds) for one in found.values())
    width = max(1, -(-last // MOST_COLUMNS))
    return ClientsView(
        seed=seed,
        names=first.clients,
        total=first.of,
        classes=first.classes,
        samples=first.samples,
        mix=first.counts,
        rounds=np.arange(1, last + 1, width),
        weights={
            label: _columns(one.weights, width, last)
            for label, one in found.items()
            if not np.isnan(one.weights).all()
        },
    )


def _columns(weights: Floats, width: int, last: int) -> Floats:
    """Average (rounds, clients) over blocks of rounds; returns (clients, columns)."""
    padded = np.full((-(-last // width) * width, weights.shape[1]), np.nan)
    padded[: len(weights)] = weights
    with warnings.catch_warnings():
        # A client that was asked in no round of a block.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean: Floats = np.nanmean(padded.reshape(-1, width, weights.shape[1]), axis=1)
    return mean.T
