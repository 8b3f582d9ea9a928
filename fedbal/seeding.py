"""Every random draw comes from a named stream: (seed, purpose, keys) decide it, never the draw order.

Streams are keyed by what they are for (``"partition"``, ``"batches"``), the client and the round, so the
number of workers, the order of clients and unrelated draws cannot change a result.
"""

from __future__ import annotations

import hashlib

import numpy as np


def entropy(seed: int, purpose: str, *keys: str | int) -> int:
    """Return 128 bits that depend on the seed, the purpose and every key, each unambiguously delimited."""
    text = "\x1f".join([str(seed), purpose, *(f"{type(key).__name__}:{key}" for key in keys)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def stream(seed: int, purpose: str, *keys: str | int) -> np.random.Generator:
    """Return the NumPy generator of one named stream.

    Parameters
    ----------
    seed : int
        Base seed of the axis (partition, init or training).
    purpose : str
        What the draws are for.
    *keys : str or int
        Client key, round, parameter name: whatever tells this stream from its siblings.

    Examples
    --------
    >>> float(stream(0, "batches", "7", 3).random()) == float(stream(0, "batches", "7", 3).random())
    True
    """
    return np.random.Generator(np.random.PCG64(entropy(seed, purpose, *keys)))


def integer(seed: int, purpose: str, *keys: str | int) -> int:
    """Return a 63-bit seed for generators that are not NumPy's (``torch.Generator.manual_seed``)."""
    return entropy(seed, purpose, *keys) & (2**63 - 1)
