"""Command line of the studies."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reproduce import results
from benchmarks.reproduce.runner import run_cells
from benchmarks.reproduce.studies import find_study, studies
from fedbal.errors import FedbalError, UsageError

ABOUT = """\
Published effects, measured again with paired seeds.

  python -m benchmarks.reproduce list                      the studies, their sizes and their claims
  python -m benchmarks.reproduce fedprox --size smoke      does everything work? seconds
  python -m benchmarks.reproduce fedprox                   the study as committed: two cores, about half an hour
  python -m benchmarks.reproduce fedprox --size full       the paper's size; for a machine with a GPU or many cores
  python -m benchmarks.reproduce pages                     tables, verdicts and figures into docs/methods

A study that was stopped goes on when it is started again: every run is kept under the hash of its scenario.
Claims are fixed in benchmarks/reproduce/studies before a study is run. Data sets come from FEDBAL_DATA, the
cache or the web, as everywhere.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit."""
    try:
        _command(arguments)
    except FedbalError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(130) from None


def _command(arguments: Sequence[str] | None) -> None:
    given = _parser().parse_args(arguments)
    if given.study == "list":
        _list()
    elif given.study == "pages":
        from benchmarks.reproduce.pages import write_pages

        for line in write_pages(given.docs, given.results):
            print(line)
    else:
        _study(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.reproduce",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY", help="a study's name, or list, or pages")
    parser.add_argument(
        "--size", default="cpu", help="smoke, cpu (default), full, or another that list shows"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each (default 2)")
    parser.add_argument("--device", help="cuda trains on the GPU (default: the scenario's, the CPU)")
    parser.add_argument("--seeds", help="other seeds than the size's, as 0-6 or 0,1,2")
    parser.add_argument("--out", type=Path, help="where runs are kept (default runs/reproduce/STUDY-SIZE)")
    parser.add_argument(
        "--results",
        type=Path,
        default=results.FOLDER,
        help="folder of the results files (default benchmarks/reproduce/results; smoke writes into --out)",
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="for pages: the documentation folder")
    return parser


def _study(given: argparse.Namespace) -> None:
    study = find_study(given.study)
    if given.size not in study.sizes:
        raise UsageError(f"{study.name} has no size {given.size!r}; choose one of {', '.join(study.sizes)}.")
    if given.workers < 1:
        raise UsageError(f"--workers {given.workers}: give at least 1.")
    out = given.out or Path("runs") / "reproduce" / f"{study.name}-{given.size}"
    cells = study.cells(given.size, seeds(given.seeds), given.device)
    print(f"{study.name}, size {given.size}: {len(cells)} runs; {study.sizes[given.size].about}", flush=True)
    records = run_cells(study, cells, out, workers=given.workers, say=_say)
    content = results.collect(study, given.size, records, given.workers, given.device or "cpu")
    path = results.results_path(study, given.size, out if given.size == "smoke" else given.results)
    results.write(path, content)
    for claim in content["claims"]:
        print(f"{claim['verdict']:>9}, {claim.get('seeds', 0)} seeds: {claim['text']}")
    failed = sum(record["status"] == "failed" for record in records)
    print(f"{path}" + (f"; {failed} runs failed, the file says why" if failed else ""))


def _say(line: str) -> None:
    print(line, flush=True)


def seeds(text: str | None) -> tuple[int, ...] | None:
    """Read ``0-6`` or ``0,1,2``.

    Raises
    ------
    UsageError
        It is neither.
    """
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UsageError(f"--seeds {text!r}: give a range such as 0-6 or a list such as 0,1,2.")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(dict.fromkeys(found))


def _list() -> None:
    for study in studies().values():
        print(f"{study.name}: {study.title}. {study.paper}")
        for name, size in study.sizes.items():
            runs = len(study.pairs(name)) * len(size.seeds)
            print(f"  --size {name:6} {runs:4} runs, seeds {_span(size.seeds)}; {size.about}")
        for claim in study.claims:
            print(f"  claim {claim.name}: {claim.text}")


def _span(chosen: tuple[int, ...]) -> str:
    first, last = chosen[0], chosen[-1]
    return f"{first}-{last}" if chosen == tuple(range(first, last + 1)) else ", ".join(map(str, chosen))
