"""The points that are tried: the defaults, then a scrambled Sobol sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedbal.comparison.tuning.space import Knob
from fedbal.errors import UsageError
from fedbal.seeding import stream

SAMPLER = "a scrambled Sobol sequence"


def propose(knobs: Sequence[Knob], trials: int, seed: int, label: str) -> list[dict[str, Any]]:
    """Return the values of every trial, by dotted key.

    Fewer trials are the first of more, and no method's points depend on another's.

    Parameters
    ----------
    knobs : sequence of Knob
        What is searched.
    trials : int
        How many points, >= 1; without knobs there is one.
    seed : int
        Seed of the search.
    label : str
        The method.

    Returns
    -------
    list of dict
        The defaults first.

    Raises
    ------
    UsageError
        scipy is not installed.
    """
    defaults = {knob.key: knob.default for knob in knobs}
    if not knobs or trials == 1:
        return [defaults]
    try:
        from scipy.stats.qmc import Sobol
    except ImportError as error:
        raise UsageError(
            "tuning needs scipy: pip install 'fedbal[report]', or compare without tuning."
        ) from error
    sequence = Sobol(len(knobs), scramble=True, rng=stream(seed, "tune", label))
    # Whole powers of two: a Sobol sequence is balanced there.
    points = sequence.random_base2((trials - 2).bit_length())[: trials - 1]
    return [
        defaults,
        *(
            {knob.key: knob.space.at(float(share)) for knob, share in zip(knobs, point, strict=True)}
            for point in points
        ),
    ]
