"""Real runs of one rule against itself: two training seeds a pair, so that every difference is noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fedbal
from benchmarks.calibration.situations import ALPHA, MARGIN
from fedbal.comparison.statistics.analysis import analyse
from fedbal.errors import RunError
from fedbal.fingerprints import of_packages
from fedbal.results import RunReader
from fedbal.seeding import stream
from fedbal.sweep import FailedRun

SCENARIO = "quickstart"
RULE = "fedavg"
PAIRS = 100
IN_COMPARISON = 10
REGROUPINGS = 500
SHARE = 0.1
"""Last share of the rounds whose balanced accuracy is averaged."""


def measure(
    folder: Path, pairs: int = PAIRS, workers: int | None = None, rounds: int | None = None
) -> dict[str, Any]:
    """Run every pair and return its outcomes; called again with the same folder, it goes on.

    Pair k has data and initial weights of seed k; its runs train with seeds 2 k and 2 k + 1.

    Parameters
    ----------
    folder : Path
        Where run directories go.
    pairs : int
        How many, >= 1.
    workers : int, optional
        Processes; default: one a CPU.
    rounds : int, optional
        Rounds of a run; None: those of the scenario.

    Raises
    ------
    RunError
        A run failed.
    """
    changes = [f"strategy={RULE}", *([] if rounds is None else [f"rounds={rounds}"])]
    scenarios = [
        fedbal.load(
            SCENARIO, [*changes, f"seed={{partition: {pair}, init: {pair}, training: {2 * pair + side}}}"]
        )
        for pair in range(pairs)
        for side in (0, 1)
    ]
    found = []
    for result in fedbal.run_many(scenarios, folder, workers=workers):
        if isinstance(result, FailedRun):
            raise RunError(f"{result.directory}: {result.reason}")
        found.append(outcome(result.directory))
    return {
        "scenario": SCENARIO,
        "rule": RULE,
        "rounds": scenarios[0].rounds,
        "outcome": f"test.balanced_accuracy, mean over the last {SHARE:.0%} of the rounds",
        "pairs": [list(pair) for pair in zip(found[::2], found[1::2], strict=True)],
        "packages": of_packages(),
    }


def outcome(directory: Path) -> float:
    """Return the mean balanced accuracy over the last rounds of a run.

    Parameters
    ----------
    directory : Path
        Of a finished run.
    """
    values = [row["test"]["balanced_accuracy"] for row in RunReader(directory).rounds() if row["round"] > 0]
    late = values[-max(1, math.ceil(SHARE * len(values))) :]
    return math.fsum(late) / len(late)


def judge(pairs: Sequence[Sequence[float]], regroupings: int = REGROUPINGS) -> dict[str, Any]:
    """Cut pairs into comparisons of ten and count verdicts: as they come, and over random regroupings.

    Parameters
    ----------
    pairs : sequence of pairs of float
        Outcomes; a multiple of :data:`IN_COMPARISON`.
    regroupings : int
        How often they are cut anew; these share their pairs, so they only even out the luck of the cut.

    Returns
    -------
    dict
        Verdict counts of the ``comparisons``, share of wrong verdicts over ``regrouped``, standard deviation of the
        differences, and correlation of the pairs.
    """
    values = np.array(pairs)
    counts = _verdicts(values)
    wrong, total = 0, 0
    generator = stream(0, "regroupings")
    for _ in range(regroupings):
        again = _verdicts(values[generator.permutation(len(values))])
        wrong += again["better"] + again["worse"]
        total += sum(again.values())
    return {
        "comparisons": counts,
        "regrouped": {"comparisons": total, "wrong": wrong / total if total else None},
        "sd": float((values[:, 1] - values[:, 0]).std(ddof=1)),
        "correlation": float(np.corrcoef(values.T)[0, 1]),
    }


def _verdicts(values: np.ndarray) -> dict[str, int]:
    counts = dict.fromkeys(("better", "worse", "equivalent", "undecided"), 0)
    for start in range(0, len(values), IN_COMPARISON):
        cut = values[start : start + IN_COMPARISON]
        sides = {"a": dict(enumerate(cut[:, 0].tolist())), "b": dict(enumerate(cut[:, 1].tolist()))}
        found = analyse({"": sides}, methods=["a", "b"], baseline="a", margin=MARGIN, alpha=ALPHA)
        counts[found.contrasts[0].verdict] += 1
    return counts
