"""What sites truly contribute, by retraining every coalition, and how the weights of a run rank them.

The truth of a draw of sites is trained once for all arms, by FedAvg, with initial weights shared by all coalitions:
every coalition with two training seeds. The mean of the two is what weights are compared with, and how the two rank
the sites against each other is the floor below which nothing can be told from the luck of training.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fedbal import fingerprints
from fedbal.contribution.compute import Options, contribution
from fedbal.contribution.correlation import kendall, pearson, spearman
from fedbal.results import RunReader
from fedbal.scenario import Scenario, from_mapping

RANKINGS: Mapping[str, Callable[[Any, Any], float | None]] = {
    "spearman": spearman,
    "kendall": kendall,
    "pearson": pearson,
}
VALUES = {"leave-one-out": "leave_one_out", "shapley": "shapley"}
FURTHER = 1000
"""Added to the training seed for the second retraining."""
LAST = 5
"""Weights are the mean over so many last rounds."""


def agreement(scenario: Scenario, reader: RunReader) -> dict[str, float]:
    """Return how the weights of a finished run go with the sites' retrained contributions.

    Parameters
    ----------
    scenario : Scenario
        What was run; every client with training rows takes part in every round.
    reader : RunReader
        The run; truths are kept in ``truth`` beside the folder of unfinished runs.

    Returns
    -------
    dict
        ``leave-one-out.spearman`` and so on: of leave-one-out and Shapley values, by Spearman, Kendall and
        Pearson; equal weights rank nobody, which counts as 0. ``floor.leave-one-out.spearman`` and so on: of the
        two retrainings with each other. ``range.shapley``, ``noise.shapley`` and so on: largest less smallest
        contribution, and the standard deviation of a contribution between the two retrainings.
    """
    first, second = truths(scenario, reader.path.parent.parent / "truth")
    weights = mean_weights(reader, first["clients"])
    found: dict[str, float] = {}
    for name, key in VALUES.items():
        one, two = np.array(first[key]), np.array(second[key])
        truth = 0.5 * (one + two)
        for title, correlation in RANKINGS.items():
            found[f"{name}.{title}"] = correlation(weights, truth) or 0.0
            found[f"floor.{name}.{title}"] = correlation(one, two) or 0.0
        found[f"range.{name}"] = float(np.ptp(truth))
        found[f"noise.{name}"] = float(np.sqrt(np.mean((one - two) ** 2) / 2.0))
    return found


def mean_weights(reader: RunReader, clients: Sequence[str]) -> list[float]:
    """Return each client's weight, averaged over the last rounds; a round without it counts 0."""
    rows = reader.clients()
    last = max(row["round"] for row in rows)
    rounds = range(max(1, last - LAST + 1), last + 1)
    total = dict.fromkeys(clients, 0.0)
    for row in rows:
        if row["round"] in rounds and row["weight"] is not None:
            total[row["client"]] += row["weight"]
    return [total[client] / len(rounds) for client in clients]


def truths(scenario: Scenario, folder: Path) -> list[dict[str, Any]]:
    """Return the contributions under two training seeds, computed once for all that ask.

    Processes that ask for the same truths share the work: each takes what no other is at, then waits for the rest.
    """
    wanted = [_plain(scenario, further) for further in (0, FURTHER)]
    paths = [folder / _address(each) for each in wanted]
    found: dict[int, dict[str, Any]] = {}
    for waits in (False, True):
        for position, (each, path) in enumerate(zip(wanted, paths, strict=True)):
            if position in found:
                continue
            with _locked(path.with_suffix(".lock"), waits) as held:
                if held:
                    found[position] = _once(each, path)
    return [found[position] for position in range(len(wanted))]


def _once(scenario: Scenario, path: Path) -> dict[str, Any]:
    kept = path.with_suffix(".json")
    if not kept.exists():
        result = contribution(scenario, Options(repeats=1), path)
        kept.write_text(json.dumps(result))
    content: dict[str, Any] = json.loads(kept.read_text())
    return content


def _plain(scenario: Scenario, further: int) -> Scenario:
    """Return FedAvg on the same sites with another training seed."""
    raw = scenario.resolved()
    raw["strategy"] = "fedavg"
    raw["client"] = {key: value for key, value in raw["client"].items() if key != "update"}
    raw["seed"] = {**raw["seed"], "training": raw["seed"]["training"] + further}
    return from_mapping(raw)


def _address(scenario: Scenario) -> str:
    text = fingerprints.of_code() + json.dumps(scenario.resolved(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@contextmanager
def _locked(path: Path, waits: bool) -> Iterator[bool]:
    """Hold a lock; without waiting, tell whether it was free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
