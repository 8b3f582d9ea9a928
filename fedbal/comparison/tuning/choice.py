"""Which trial is taken, and what more or fewer of them would have found."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

from fedbal.comparison.tuning.records import Trial


def choose(trials: Sequence[Trial], *, higher: bool) -> int:
    """Return the number of the best finished trial; of equal ones that nearest to the defaults.

    Without a finished trial it is trial 0, the method as declared.
    """
    scored = [
        (trial.score, trial) for trial in trials if trial.status == "finished" and trial.score is not None
    ]
    if not scored:
        return 0
    sign = -1.0 if higher else 1.0
    return min(scored, key=lambda pair: (sign * pair[0], pair[1].distance, pair[1].number))[1].number


def best_of(scores: Sequence[float | None], *, higher: bool) -> tuple[float | None, ...]:
    """Return the expected best of k of N scores drawn without replacement, for k = 1 .. N.

    With the scores in order, the worst first, the i-th is the best of k drawn ones with probability
    C(i - 1, k - 1) / C(N, k), so that

        E_k = sum_i s_(i) C(i - 1, k - 1) / C(N, k);

    E_1 is their mean and E_N the best. An unbiased estimate of what k trials would have found.

    Parameters
    ----------
    scores : sequence of float or None
        One a trial; with an unknown one nothing is known.
    higher : bool
        Whether more is better.
    """
    known = [score for score in scores if score is not None]
    total = len(scores)
    if len(known) < total:
        return (None,) * total
    ordered = sorted(known, reverse=not higher)
    return tuple(
        sum(score * comb(i, k - 1) for i, score in enumerate(ordered)) / comb(total, k)
        for k in range(1, total + 1)
    )
