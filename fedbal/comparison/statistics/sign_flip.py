"""Exact test of paired differences: if nothing differs, each difference could as well have the other sign.

R. A. Fisher, The Design of Experiments, 1935, section 21. Phipson and Smyth, "Permutation p-values should never be
zero", Statistical Applications in Genetics and Molecular Biology 9, 2010 (drawn flips).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedbal.seeding import stream

Floats = NDArray[np.float64]

MOST_EXACT = 20
"""Differences up to which all flips are counted."""
DRAWS = 99_999
"""Flips that are drawn beyond."""
ROUNDING = 1e-9
"""Sums this close, by the sum of absolute differences, are the same."""
_CELLS = 1 << 22


def sign_flip(differences: Floats) -> Floats:
    """Return the two-sided p value of a mean of 0.

    It is the share of sign flips whose mean is as far from 0 as the seen one. Exact up to :data:`MOST_EXACT`
    differences, whatever their distribution is, as long as it is symmetric about 0 where nothing differs.
    Beyond, :data:`DRAWS` flips are drawn, always the same, and the seen signs count as one.

    Parameters
    ----------
    differences : ndarray, (..., n)
        Finite, n >= 1. Zeros stay in: a flip does not change them.

    Returns
    -------
    ndarray, (...)
        In (0, 1]: a multiple of 2 / 2^n up to :data:`MOST_EXACT` differences.
    """
    n = differences.shape[-1]
    rows = differences.reshape(-1, n)
    count = _all_flips if n <= MOST_EXACT else _drawn_flips
    block = max(1, _CELLS >> (n - 1)) if n <= MOST_EXACT else max(1, _CELLS // DRAWS)
    found = [count(rows[start : start + block]) for start in range(0, len(rows), block)]
    p: Floats = np.concatenate(found).reshape(differences.shape[:-1])
    return p


def signed_ranks(differences: Floats) -> Floats:
    """Return the ranks of the absolute differences with the signs of the differences; a difference of 0 has rank 0.

    :func:`sign_flip` of these is Wilcoxon's signed-rank test, exact with ties and with zeros left out.

    Parameters
    ----------
    differences : ndarray, (..., n)
        Finite; equal ones share their mean rank.
    """
    from scipy.stats import rankdata

    size = np.abs(differences)
    # In units of pi no fraction of round numbers lies where rounding would part equal differences.
    unit = math.pi * size.max(axis=-1, keepdims=True)
    size = np.round(np.divide(size, unit, out=np.zeros_like(size), where=unit > 0.0), 9)
    zeros = (size == 0.0).sum(axis=-1, keepdims=True)
    ranks = np.where(size == 0.0, 0.0, rankdata(size, axis=-1) - zeros)
    signed: Floats = np.sign(differences) * ranks
    return signed


def _threshold(rows: Floats) -> Floats:
    least: Floats = np.abs(rows.sum(axis=1)) - ROUNDING * np.abs(rows).sum(axis=1)
    return least


def _all_flips(rows: Floats) -> Floats:
    # The first sign is held: the other half of the flips mirrors this one.
    sums = rows[:, :1]
    for column in range(1, rows.shape[1]):
        one = rows[:, column, None]
        sums = np.concatenate([sums + one, sums - one], axis=1)
    share: Floats = (np.abs(sums) >= _threshold(rows)[:, None]).mean(axis=1)
    return share


def _drawn_flips(rows: Floats) -> Floats:
    n = rows.shape[1]
    signs = stream(0, "sign flips", n).integers(0, 2, size=(DRAWS, n), dtype=np.int8) * 2.0 - 1.0
    extreme = (np.abs(rows @ signs.T) >= _threshold(rows)[:, None]).sum(axis=1)
    share: Floats = (1 + extreme) / (1 + DRAWS)
    return share
