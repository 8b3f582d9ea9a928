"""Thirty runs of quickstart, six rules with five seeds each: as one sweep, or one ``fedbal run`` after another."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

RULES = ("fedavg", "fedprox", "scaffold", "fednova", "fedadam", "feddisco")
SEEDS = range(5)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all of it, or for one by one a sixth of each rule's seeds, and write the mean accuracy."""
    parser = argparse.ArgumentParser("python -m benchmarks.speed.many")
    parser.add_argument("how", choices=("sweep", "one-by-one"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="fedbal-speed-") as folder:
        summaries = (sweep if given.how == "sweep" else one_by_one)(Path(folder))
    # Of the seed that both have; loss is no figure that rules share.
    accuracy = mean(one["final"]["accuracy"] for one in summaries if one["seed"] == 0)
    given.out.write_text(json.dumps({"accuracy": accuracy, "loss": None, "runs": len(summaries)}))


def one_by_one(folder: Path) -> list[dict[str, Any]]:
    """Run every rule once, with seed 0, each in a process of its own, as on a command line."""
    summaries = []
    for rule in RULES:
        out = folder / rule
        command = [sys.executable, "-m", "fedbal", "run", "quickstart", "--out", str(out)]
        subprocess.run([*command, "--set", f"strategy={rule}", "--set", "seed=0"], check=True)
        summaries.append(json.loads((out / "summary.json").read_text()))
    return summaries


def sweep(folder: Path) -> list[dict[str, Any]]:
    """Run every rule with every seed as one sweep."""
    from fedbal.errors import RunError
    from fedbal.scenario import load
    from fedbal.sweep import FailedRun, run_many

    scenarios = [load("quickstart", [f"strategy={rule}", f"seed={seed}"]) for rule in RULES for seed in SEEDS]
    summaries = []
    for result in run_many(scenarios, folder / "sweep"):
        if isinstance(result, FailedRun):
            raise RunError(result.reason)
        summaries.append(result.summary)
    return summaries


if __name__ == "__main__":
    main()
