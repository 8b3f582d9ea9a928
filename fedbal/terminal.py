"""What a person sees: tables, progress, errors; rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Any

MISSING = "-"


def is_terminal() -> bool:
    """Tell whether standard output is a terminal."""
    return sys.stdout.isatty()


def say(text: str = "") -> None:
    """Print a line to standard output, as it is."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)


def number(value: Any, digits: int = 4) -> str:
    """Write a measured number; what does not exist is a dash."""
    if value is None:
        return MISSING
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    """Write seconds as people read them: ``0.42 s``, ``12.3 s``, ``4 min 05 s``, ``3 h 12 min``."""
    if seconds is None:
        return MISSING
    if seconds < 60.0:
        return f"{seconds:.2f} s" if seconds < 10.0 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def megabytes(count: float | None) -> str:
    """Write bytes in MB (10^6 bytes)."""
    return MISSING if count is None else f"{count / 1e6:.2f} MB"


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", dim: Collection[int] = ()
) -> None:
    """Print a table; columns whose cells are all numbers are set to the right.

    Parameters
    ----------
    headers : sequence of str
        Column names.
    rows : sequence of sequence of str
        Cells, one sequence a row, as long as ``headers``.
    title : str
        Printed above.
    dim : collection of int
        Positions of rows that stand back on a terminal.
    """
    right = [all(_numeric(row[column]) for row in rows) for column in range(len(headers))]
    if title:
        say(title)
    if is_terminal():
        _rich_table(headers, rows, right, dim)
        return
    widths = [max(len(line[column]) for line in [headers, *rows]) for column in range(len(headers))]
    for line in [headers, *rows]:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        say("  ".join(cells).rstrip())


def _rich_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], dim: Collection[int]
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table()
    for header, to_right in zip(headers, right, strict=True):
        shown.add_column(Text(header), justify="right" if to_right else "left", overflow="fold")
    for at, row in enumerate(rows):
        shown.add_row(*(Text(cell) for cell in row), style="dim" if at in dim else None)
    Console().print(shown)


def _numeric(cell: str) -> bool:
    first = cell.split(" ")[0].rstrip("%")
    return cell == MISSING or first.replace(".", "", 1).replace("-", "", 1).isdigit()
