"""Command line of the calibration of verdicts.

python -m benchmarks.calibration               thousands of simulated comparisons; minutes
python -m benchmarks.calibration aa            200 real runs of FedAvg against itself; minutes
python -m benchmarks.calibration page          the results into docs/statistics.md

The first two leave 1 if a figure is outside of its bounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.calibration import page
from benchmarks.calibration.simulate import COMPARISONS, Found, breaches, simulate_all
from benchmarks.calibration.situations import SITUATIONS
from fedbal.results import to_json, write_atomically
from fedbal.terminal import say, warn

PAGE = Path("docs/statistics.md")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words; default: those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["simulated", "aa", "page"], default="simulated")
    parser.add_argument("--comparisons", type=int, default=COMPARISONS, help="simulated, of each situation")
    parser.add_argument("--runs", type=Path, default=Path("runs/equals"), help="run directories of aa")
    parser.add_argument("--workers", type=int, default=None, help="processes of aa; default: one a CPU")
    given = parser.parse_args(arguments)
    if given.what == "page":
        page.write_page(PAGE)
    elif given.what == "aa":
        _equals(given.runs, given.workers)
    else:
        _simulated(given.comparisons)


def _simulated(comparisons: int) -> None:
    found = simulate_all(comparisons)
    _write(page.SIMULATED, {"comparisons": comparisons, "situations": found})
    said = [text for one in SITUATIONS for text in breaches(one, Found(**found[one.name]))]
    _end(said, f"{len(SITUATIONS)} situations within their bounds")


def _equals(folder: Path, workers: int | None) -> None:
    from benchmarks.calibration import aa

    content = aa.measure(folder, workers=workers)
    judged = aa.judge(content["pairs"])
    _write(page.EQUALS, {**content, "judged": judged})
    wrong = judged["regrouped"]["wrong"]
    _end(
        [f"{wrong:.3f} of the regrouped comparisons are wrong"] if wrong > 0.06 else [],
        "equals were found equal",
    )


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, (to_json(content) + "\n").encode())
    say(f"wrote {path}")


def _end(said: Sequence[str], good: str) -> None:
    for text in said:
        warn(text)
    if said:
        raise SystemExit(1)
    say(good)
