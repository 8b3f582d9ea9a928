"""The report's further tables: targets, tuning, runs, pairing, and what it takes to make the comparison again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from fedbal.comparison.compared import Compared
from fedbal.comparison.history import fingerprints_of
from fedbal.comparison.statistics.targets import ToTarget, to_target
from fedbal.comparison.tables import Sheet, number
from fedbal.comparison.times import Times, times_to_target
from fedbal.terminal import MISSING

UNITS = {"rounds": (1.0, "rounds"), "bytes": (1e6, "MB"), "client_seconds": (1.0, "client-seconds")}
PRINTS = ("partition", "initial", "cohorts", "batches")
LETTERS = 10
"""Of a hash: enough to tell runs apart by eye."""


def target_sheets(compared: Compared) -> list[Sheet]:
    """Return how soon each method reaches the target, one table a data set."""
    found = times_to_target(compared.protocol, compared.records, compared.protocol.target)
    primary = compared.protocol.primary
    sheets = []
    for dataset in compared.protocol.datasets:
        here = [one for one in found if one.dataset == dataset]
        if not here:
            continue
        rows: dict[str, list[str]] = {}
        headers = ["rule", "reached the target"]
        for axis in dict.fromkeys(one.axis for one in here):
            headers.append(f"{UNITS[axis][1]}, restricted mean [95 %]")
            for one in (one for one in here if one.axis == axis):
                reached = to_target(one.times.tolist(), one.reached.tolist(), one.horizon)
                cells = rows.setdefault(one.method, [one.method, f"{reached.reached} of {reached.runs}"])
                cells.append(_restricted(one, reached))
        scale = 100.0 if primary.percent else 1.0
        unit = " %" if primary.percent else ""
        title = f"To {primary.label} of {number(here[0].target, scale)}{unit}"
        title += f" on {dataset}" if dataset else ""
        sheets.append(Sheet(title, tuple(headers), tuple(tuple(row) for row in rows.values())))
    return sheets


def tuning_sheet(compared: Compared) -> Sheet:
    """Return what tuning chose and what it took, one row a knob; no rows if nothing was tuned."""
    rows = []
    tuned: Mapping[str, Any] = (compared.tuning or {}).get("methods", {})
    for label, one in tuned.items():
        spent = one["spent"]
        cost = (
            str(spent["trials"]),
            str(spent["rounds"]),
            number(spent["client_seconds"]),
            number(spent["bytes"] / 1e6),
        )
        settings = one["settings"] or [{"key": MISSING, "space": "", "default": None, "value": None}]
        for at, knob in enumerate(settings):
            first = (label, *cost) if at == 0 else (label, "", "", "", "")
            edge = f" (at the {knob['edge']} end)" if knob.get("edge") else ""
            rows.append(
                (*first, knob["key"], knob["space"], _value(knob["default"]), _value(knob["value"]) + edge)
            )
    headers = ("rule", "trials", "rounds", "client-seconds", "MB", "knob", "searched", "default", "chosen")
    return Sheet("Tuning", headers, tuple(rows))


def trouble_sheet(compared: Compared) -> Sheet:
    """Return every run that diverged, failed, has not ended, or whose rule dropped replies."""
    rows = tuple(
        (
            run.method,
            run.dataset or MISSING,
            str(run.seed),
            run.status,
            str(run.dropped),
            run.reason or MISSING,
        )
        for run in compared.records
        if run.status != "finished" or run.dropped
    )
    return Sheet("Runs to know about", ("rule", "data", "seed", "status", "dropped", "reason"), rows)


def pairing_sheet(compared: Compared) -> Sheet:
    """Return how each method is paired, and what pairing gained."""
    analysis = compared.analysis
    correlations = {
        (one.dataset, one.method): one.correlation for one in (*analysis.contrasts, *analysis.references)
    }
    rows = tuple(
        (
            one.method,
            one.dataset or MISSING,
            str(one.seeds),
            one.level,
            number(correlations.get((one.dataset, one.method))),
            "; ".join(one.reasons) or MISSING,
        )
        for one in compared.pairing.methods
    )
    headers = ("rule", "data", "pairs", "pairing", "correlation within pairs", "why")
    return Sheet("Pairing", headers, rows)


def fingerprints(compared: Compared) -> Sheet:
    """Return the first letters of each run's hashes, and where it lies."""
    rows = []
    for run in compared.records:
        if run.directory is None:
            continue
        prints = fingerprints_of(run.directory)
        hashes = (str(prints.get(name, MISSING))[:LETTERS] for name in PRINTS)
        where = run.directory
        if where.is_relative_to(compared.directory):
            where = where.relative_to(compared.directory)
        rows.append((run.method, run.dataset or MISSING, str(run.seed), *hashes, str(where)))
    return Sheet("Fingerprints", ("rule", "data", "seed", *PRINTS, "run directory"), tuple(rows))


def commands(compared: Compared) -> str:
    """Return the commands that make the comparison and one of its runs again."""
    lines = [compared.command] if compared.command else []
    first = next((run.directory for run in compared.records if run.directory is not None), None)
    if first is not None:
        lines.append(
            f"fedbal run {shlex.quote(str(first / 'scenario.yaml'))}   # a single run, the same bytes"
        )
    return "\n".join(lines)


def machine(compared: Compared) -> list[tuple[str, str]]:
    """Return versions, hardware, engine and code of the first run, as (name, value)."""
    first = next((run.directory for run in compared.records if run.directory is not None), None)
    if first is None:
        return []
    prints = fingerprints_of(first)
    parts = {
        "versions": prints.get("packages"),
        "hardware": prints.get("hardware"),
        "engine": prints.get("engine"),
        "code": str(prints.get("code", MISSING))[:LETTERS],
    }
    return [
        (
            name,
            ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, Mapping) else value,
        )
        for name, value in parts.items()
        if value
    ]


def _restricted(times: Times, found: ToTarget) -> str:
    scale, _ = UNITS[times.axis]
    text = number(found.mean / scale)
    if found.low is None or found.high is None:
        return text
    return f"{text} [{number(found.low / scale)}, {number(found.high / scale)}]"


def _value(value: object) -> str:
    if value is None:
        return MISSING
    return f"{value:.4g}" if isinstance(value, float) else str(value)
