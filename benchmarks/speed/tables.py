"""The result as text for a terminal and as Markdown for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.speed.report import TARGETS, Line, Target, lines, ratio, verdicts
from benchmarks.speed.rows import FLOWER, HAND

Content = Mapping[str, Any]
HEAD = {
    "client": ("row", "workers", "ms a client", "range", "x Flower", "x hand, per core"),
    "total": ("row", "workers", "seconds", "range", "x Flower", "x hand, per core"),
}
COMMON = ("to round 1, s", "peak MB", "GPU MB", "accuracy", "")


def text(content: Content, *, markdown: bool = False, targets: Sequence[Target] = TARGETS) -> str:
    """Return all tables, the verdicts, machine and versions.

    Parameters
    ----------
    content : Mapping
        What the benchmark wrote.
    markdown : bool
        Whether for a page instead of a terminal.
    targets : sequence of Target
        What is judged.
    """
    layout = _markdown if markdown else _aligned
    parts = [machine(content)]
    for name, case in content["cases"].items():
        title = f"**{name}**: {case['title']}" if markdown else f"{name}: {case['title']}"
        parts.append(f"{title}\n\n{layout(*case_table(case))}")
    found = [] if content.get("quick") else verdicts(content, targets)
    if found:
        parts.append(layout(*verdict_table(found)))
    if content["machine"]["gpu"] is None:
        parts.append("GPU figures are missing: this machine has none (`python -m benchmarks.speed.gpu`).")
    if content.get("quick"):
        parts.append("Quick sizes: the figures only show that everything runs; no target is judged by them.")
    return "\n\n".join(parts) + "\n"


def machine(content: Content) -> str:
    """Return machine and versions as one paragraph."""
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    about = content["machine"]
    return (
        f"{about['processor']}, {about['cores']} cores, {about['gpu'] or 'no GPU'}; {versions}. "
        f"Medians of {content['repeats']} repeats, load {about['load']:.1f} at the start."
    )


def case_table(case: Content) -> tuple[Sequence[str], list[list[str]]]:
    """Return head and cells of a case; columns in which nothing was measured are left out."""
    found = lines(case)
    by_name = {line.name: line for line in found}
    head = (*HEAD[case["unit"]], *COMMON)
    cells = [_cells(line, by_name.get(FLOWER.name), by_name.get(HAND.name)) for line in found]
    kept = [n for n, title in enumerate(head) if n < 3 or not title or any(row[n] for row in cells)]
    return [head[n] for n in kept], [[row[n] for n in kept] for row in cells]


def verdict_table(found: Sequence[Mapping[str, Any]]) -> tuple[Sequence[str], list[list[str]]]:
    """Return head and cells of the targets."""
    word = {True: "met", False: "not met", None: "not measured"}
    rows = [
        [one["case"], one["text"], one["limit"], _figure(one["value"]), word[one["met"]]] for one in found
    ]
    return ("case", "target", "limit", "measured", ""), rows


def _cells(line: Line, flower: Line | None, hand: Line | None) -> list[str]:
    times = ratio(flower.value if flower else None, line.value)
    core = None
    if hand is not None and hand.value is not None and line.value is not None:
        core = hand.value / (line.value * line.workers)
    spread = "" if line.low is None else f"{_figure(line.low)}-{_figure(line.high)}"
    notes = [line.note, "" if line.same else "another accuracy"]
    return [
        *(line.name, str(line.workers), _figure(line.value), spread, _figure(times), _figure(core)),
        *(_figure(line.start), _megabytes(line.memory), _megabytes(line.gpu_memory)),
        "" if line.accuracy is None else f"{line.accuracy:.3f}",
        "; ".join(filter(None, notes)),
    ]


def _figure(value: float | None) -> str:
    """Three figures that count."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _megabytes(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:.0f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    line = "|".join("---" for _ in head)
    return "\n".join([_piped(head), f"|{line}|", *map(_piped, rows)])


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    made = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]
    ]
    return "\n".join(line.rstrip() for line in made)
