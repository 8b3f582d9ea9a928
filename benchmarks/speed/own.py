"""fedbal's own rows: one scenario, timed from outside through an observer."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.population import repeated_rows
from fedbal.observer import Silent
from fedbal.scenario import load
from fedbal.scenario_blocks import RuntimeBlock


class _Ends(Silent):
    """Notes when each round ends."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.notes: list[str] = []

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Note the time."""
        self.times.append(time.time())

    def note(self, message: str) -> None:
        """Keep what fedbal had to say."""
        self.notes.append(message)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the task's scenario and write what was measured."""
    parser = argparse.ArgumentParser("python -m benchmarks.speed.own")
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    given.out.write_text(json.dumps(run(given.task, given.rounds, given.set)))


def run(task: Path, rounds: int, settings: Sequence[str]) -> dict[str, Any]:
    """Run a task and return the end of every round but the last, which evaluates, accuracy and loss.

    Parameters
    ----------
    task : Path
        Folder with ``scenario.yaml``.
    rounds : int
        Rounds.
    settings : sequence of str
        ``KEY=VALUE``; those for keys that this fedbal does not have are left out.
    """
    from fedbal import simulation

    scenario = load(task / "scenario.yaml", [f"rounds={rounds}", *filter(_known, settings)])
    ends = _Ends()
    with tempfile.TemporaryDirectory(prefix="fedbal-speed-") as folder, repeated_rows(task):
        result = simulation.run(scenario, Path(folder) / "run", observer=ends)
        fingerprints = json.loads((Path(folder) / "run" / "fingerprints.json").read_text())
    final = result.summary["final"]
    return {
        "ends": ends.times[:-1],
        "accuracy": final["accuracy"],
        "loss": final["loss"],
        "engine": fingerprints["engine"],
        "notes": ends.notes,
    }


def _known(setting: str) -> bool:
    key = setting.partition("=")[0]
    return not key.startswith("runtime.") or key.removeprefix("runtime.") in RuntimeBlock.model_fields


if __name__ == "__main__":
    main()
