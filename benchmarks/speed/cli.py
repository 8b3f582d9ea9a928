"""Command line of the benchmark."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed.cases import CASES, Case
from benchmarks.speed.machine import machine, versions
from benchmarks.speed.runner import Options, reused, run_case
from benchmarks.speed.tables import text
from fedbal.errors import FedbalError, UsageError

ABOUT = """\
Wall time of a client update, start-up and peak memory, beside other engines that do the same arithmetic.

  python -m benchmarks.speed                        all cases, medians of 5 repeats: about a quarter of an hour
  python -m benchmarks.speed --case small --case cnn
  python -m benchmarks.speed --quick                small sizes, one repeat: does everything work?
  python -m benchmarks.speed --markdown FILE.json   the tables of an earlier run, for a page

Rows whose package, key or compiler is missing are left out and say so.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit."""
    try:
        _command(_parser().parse_args(arguments))
    except FedbalError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.speed", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=list(CASES), help="only these; default all")
    parser.add_argument("--row", action="append", default=[], help="only rows of these names")
    parser.add_argument("--repeats", type=int, help="runs of every row (default 5; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/speed-cache"),
        help="compiled code (default runs/speed-cache)",
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="print the tables of this JSON and stop"
    )
    return parser


def _command(given: argparse.Namespace) -> None:
    if given.markdown is not None:
        print(text(_read(given.markdown), markdown=True), end="")
        return
    repeats = given.repeats or (1 if given.quick else 5)
    if repeats < 1:
        raise UsageError(f"--repeats {repeats}: give at least 1.")
    chosen = [CASES[name] for name in given.case or CASES]
    known = {row.name for case in chosen for row in case.rows}
    unknown = [name for name in given.row if name not in known]
    if unknown:
        raise UsageError(
            f"--row {unknown[0]!r} is no row of these cases; there are: {', '.join(sorted(known))}."
        )
    end_on_sigterm()
    options = Options(repeats, given.cache.resolve(), tuple(given.row))
    content = run_cases([quick(case) for case in chosen] if given.quick else chosen, options)
    content["quick"] = given.quick
    print(text(content), end="")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(content, indent=1) + "\n")


def end_on_sigterm() -> None:
    """Let SIGTERM end the program as Ctrl-C does: after the processes of the running row."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def run_cases(cases: Sequence[Case], options: Options) -> dict[str, Any]:
    """Run cases one after another and return everything that was measured."""
    content: dict[str, Any] = {"machine": machine(), "versions": versions(), "repeats": options.repeats}
    done: dict[str, Any] = {}
    for case in cases:
        earlier = None if options.rows else reused(case, done)
        done[case.name] = earlier or run_case(case, options, _say)
    return {**content, "cases": done}


def quick(case: Case) -> Case:
    """Return a case at a size of seconds: a tenth of the clients at most, few samples, few rounds."""
    if case.data == "none":
        return case
    scenario = {**case.scenario, "cohort": {"size": min(case.cohort, 5)}}
    data = dict(scenario["data"])
    if case.data != "own":
        data["partition"] = {**data["partition"], "clients": max(case.clients // 50, 10)}
    scenario["data"] = data
    return replace(
        case,
        title=f"{case.title}; here at a small size",
        scenario=scenario,
        samples=min(case.samples, 40),
        rounds=min(case.rounds, case.warm + 3),
        tolerance=1.0,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no result of this benchmark: {error}.") from error
    return content


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
