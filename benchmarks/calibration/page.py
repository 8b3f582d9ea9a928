"""Fills the parts of docs/statistics.md between ``<!-- calibration:NAME -->`` and ``<!-- /calibration -->``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.calibration.situations import SITUATIONS
from fedbal.results import write_atomically

RESULTS = Path(__file__).parent / "results"
SIMULATED = RESULTS / "simulated.json"
EQUALS = RESULTS / "equals.json"
MARKER = re.compile(r"(<!-- calibration:(\w+) -->\n).*?(<!-- /calibration -->)", re.DOTALL)


def fill(text: str) -> str:
    """Return a page with its marked parts made from the results.

    Parameters
    ----------
    text : str
        The page.
    """
    made = {"simulated": simulated_table, "equals": equals_text}
    return MARKER.sub(lambda match: f"{match[1]}\n{made[match[2]]()}\n\n{match[3]}", text)


def write_page(page: Path) -> None:
    """Fill a page on disk.

    Parameters
    ----------
    page : Path
        ``docs/statistics.md``.
    """
    write_atomically(page, fill(page.read_text()).encode())


def simulated_table() -> str:
    """Return the table of simulated comparisons."""
    content = json.loads(SIMULATED.read_text())
    lines = [
        "| what is true | wrong better or worse | wrong equivalent | intervals with the truth | right verdicts |",
        "|---|---|---|---|---|",
    ]
    remarks: list[str] = []
    for situation in SITUATIONS:
        found = content["situations"][situation.name]
        mark = ""
        if situation.remark:
            remarks.append(f"{len(remarks) + 1}. {situation.remark[0].upper()}{situation.remark[1:]}.")
            mark = f" ({len(remarks)})"
        cells = [
            f"{situation.name}{mark}",
            _percent(found["error"]),
            _percent(found["equivalent"]),
            _percent(found["coverage"]),
            _right(situation.effects, found),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    count = f"{content['comparisons']:,} comparisons of each."
    return "\n".join([*lines, "", count, "", *remarks])


def equals_text() -> str:
    """Return what real runs of equals gave."""
    content = json.loads(EQUALS.read_text())
    found: Mapping[str, Any] = content["judged"]
    counts = found["comparisons"]
    wrong = counts["better"] + counts["worse"]
    pairs = len(content["pairs"])
    return (
        f"{2 * pairs} runs of `{content['rule']}` on `{content['scenario']}` ({content['rounds']} rounds), as "
        f"{pairs} pairs: both runs of a pair have the same data and initial weights, and other training seeds. "
        f"Cut into {sum(counts.values())} comparisons of 10 pairs: {wrong} called one side better, "
        f"{counts['equivalent']} called both equivalent within half a point, {counts['undecided']} stayed "
        "undecided. Over "
        f"{found['regrouped']['comparisons']:,} comparisons from random regroupings of the same pairs, "
        f"{_percent(found['regrouped']['wrong'])} called one side better. Differences have a standard deviation of "
        f"{100.0 * found['sd']:.1f} points; the runs of a pair correlate with {found['correlation']:.2f}."
    )


def _right(effects: tuple[float, ...], found: Mapping[str, Any]) -> str:
    """Say how often each method that has a right verdict got it; equal shares once."""
    said: dict[str, dict[str, None]] = {}
    for effect, better, same in zip(effects, found["better"], found["same"], strict=True):
        if effect == 0.0:
            said.setdefault("equivalent", {})[_percent(same)] = None
        elif effect > 0.0:
            said.setdefault("better", {})[_percent(better)] = None
    return ", ".join(f"{word} {' / '.join(shares)}" for word, shares in said.items())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100.0 * share:.1f} %"
