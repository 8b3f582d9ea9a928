"""Whether probabilities mean what they say: expected calibration error with bins of equal mass.

``ECE = sum_m (mass_m / mass) |accuracy_m - confidence_m|`` over M bins that hold equally many samples, sorted by
confidence (Nixon et al., CVPR workshops 2019; bins of equal width leave most of them empty). It is read from the
histogram of :mod:`fedbal.scores`: a fine bin that straddles a boundary is divided in proportion, so the result
differs from that of sorted samples by at most the share of samples in the fine bins at the M - 1 inner
boundaries (:func:`ece_error`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedbal.scores import ScoreSums

ECE_BINS = 15


def ece(sums: ScoreSums, bins: int = ECE_BINS) -> float | None:
    """Return the expected calibration error of the most probable class.

    Parameters
    ----------
    sums : ScoreSums
        Statistics of the test set.
    bins : int (default: 15)
        Bins of equal mass, >= 1.

    Returns
    -------
    float or None
        In [0, 1]; None without samples or when probabilities are not finite.
    """
    if not sums.defined:
        return None
    edges = np.linspace(0.0, sums.mass, bins + 1)
    reached = np.concatenate([[0.0], np.cumsum(sums.confidence[0])])
    gap = sums.confidence[1] - sums.confidence[2]
    summed = np.interp(edges, *_distinct(reached, np.concatenate([[0.0], np.cumsum(gap)])))
    return float(np.abs(np.diff(summed)).sum() / sums.mass)


def ece_error(sums: ScoreSums, bins: int = ECE_BINS) -> float:
    """Return how far :func:`ece` can be from the value of sorted samples."""
    reached = np.cumsum(sums.confidence[0])
    slack = 1e-9 * sums.mass
    edges = np.linspace(0.0, sums.mass, bins + 1)[1:-1, None]
    divided = (reached - sums.confidence[0] < edges - slack) & (edges + slack < reached)
    return float(sums.confidence[0][divided.any(axis=0)].sum() / sums.mass)


def _distinct(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leave out empty fine bins, where neither mass nor gap grows."""
    keep = np.concatenate([[True], np.diff(x) > 0])
    return x[keep], y[keep]
