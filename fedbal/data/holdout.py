"""Clients that are held out whole: they never train, and are reported on with all their data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedbal.data.dataset import IntArray
from fedbal.errors import UsageError
from fedbal.registry import nearest
from fedbal.seeding import stream


def held_out(
    choice: float | Sequence[str | int], names: Sequence[str], sizes: IntArray, seed: int
) -> list[int]:
    """Choose the clients that never train.

    Parameters
    ----------
    choice : float or sequence of str or int
        Share in [0, 1) of the clients that have data, at least one unless it is 0; or client names, where a
        number means the client of that name.
    names : sequence of str
        Names of all clients.
    sizes : ndarray of int64, (clients,)
        Rows of each client.
    seed : int
        Partition seed; a share draws from it, names do not.

    Returns
    -------
    list of int
        Positions of the clients, ascending.

    Raises
    ------
    UsageError
        A name is no client's, or no client with data is left to train.
    """
    populated = np.flatnonzero(sizes > 0)
    if isinstance(choice, float | int):
        count = max(1, round(choice * len(populated))) if choice > 0 else 0
        order = stream(seed, "holdout-clients").permutation(len(populated))
        chosen = sorted(populated[order[:count]].tolist())
    else:
        chosen = sorted({_position(str(name), names) for name in choice})
    if len(populated) and not set(populated.tolist()) - set(chosen):
        raise UsageError(
            f"data.holdout_clients holds out all {len(populated)} clients that have data; "
            "leave at least one to train."
        )
    return chosen


def _position(name: str, names: Sequence[str]) -> int:
    if name in names:
        return list(names).index(name)
    close = nearest(name, names)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise UsageError(
        f"data.holdout_clients: no client is called {name!r}; {guess}the {len(names)} clients are {shown}."
    )
