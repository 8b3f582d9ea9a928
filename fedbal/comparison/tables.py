"""The ranked table on the terminal, as Markdown and as LaTeX; all three say the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedbal.comparison import said
from fedbal.comparison.compared import Compared
from fedbal.comparison.ranked import Ranked, ranked
from fedbal.comparison.statistics.notes import plain
from fedbal.results import disk_errors, write_atomically
from fedbal.terminal import MISSING, say, table

MARKDOWN = "table.md"
LATEX = "table.tex"


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes
    ----------
    title : str
        Above it.
    headers : tuple of str
        Column names.
    rows : tuple of tuple of str
        Cells.
    references : tuple of int
        Positions of the reference rows.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    references: tuple[int, ...] = ()


def print_ranked(compared: Compared) -> None:
    """Print the ranked table of every data set, and below it the verdicts in words.

    Parameters
    ----------
    compared : Compared
        The comparison.
    """
    for sheet in sheets(compared):
        table(sheet.headers, sheet.rows, title=sheet.title, dim=sheet.references)
        say()
    for sentence in said.everything(compared):
        say(sentence)


def write(compared: Compared, directory: Path) -> tuple[Path, Path]:
    """Write ``table.md`` and ``table.tex``.

    Parameters
    ----------
    compared : Compared
        The comparison.
    directory : Path
        Where they go.
    """
    paths = directory / MARKDOWN, directory / LATEX
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, (markdown(compared), latex(compared)), strict=True):
            write_atomically(path, text.encode())
    return paths


def sheets(compared: Compared) -> list[Sheet]:
    """Return one ranked table a data set, and with several data sets the pairs of rules over all of them."""
    found = [_ranked_sheet(compared, dataset) for dataset in compared.protocol.datasets]
    across = compared.analysis.across
    if across:
        ranks = compared.analysis.ranks
        headers = ("pair", "data sets", "wins", "losses", "mean ranks", "p", "adjusted p")
        rows = tuple(
            (
                f"{pair.first} - {pair.second}",
                str(pair.datasets),
                str(pair.wins),
                str(pair.losses),
                f"{number(ranks.get(pair.first))} - {number(ranks.get(pair.second))}",
                plain(pair.p),
                plain(pair.p_adjusted),
            )
            for pair in across
        )
        found.append(Sheet("Pairs of rules over all data sets", headers, rows))
    return found


def headers(compared: Compared) -> tuple[str, ...]:
    """Return the columns of the ranked table; numbers in per cent unless the outcome is no share."""
    primary = compared.protocol.primary
    unit = ", %" if primary.percent else ""
    return (
        "rule",
        f"{primary.label}{unit}",
        f"difference from {compared.protocol.baseline} [95 % interval]",
        "adjusted p",
        "few-shot recall, %",
        "worst 10 % of clients, %",
        "better than alone, %",
        "MB",
        "dropped",
        "verdict",
    )


def cells(compared: Compared, row: Ranked) -> tuple[str, ...]:
    """Return a row's cells, as :func:`headers` names them."""
    scale = 100.0 if compared.protocol.primary.percent else 1.0
    contrast = row.contrast
    # A reference row stands in no family of tests: its p is its own.
    p = None if contrast is None else (contrast.p if row.reference else contrast.p_adjusted)
    return (
        f"{row.label}{' (reference)' if row.reference else ''}",
        number(row.mean, scale),
        difference(row, scale),
        f"({plain(p)})" if row.reference and p is not None else plain(p),
        number(row.few, 100.0),
        number(row.worst, 100.0),
        number(row.alone, 100.0),
        number(row.megabytes),
        str(row.dropped),
        _verdict(row),
    )


def number(value: float | None, scale: float = 1.0) -> str:
    """Write a number with one decimal, below 1 in three digits."""
    if value is None:
        return MISSING
    value *= scale
    return f"{value:.1f}" if scale > 1.0 or abs(value) >= 10.0 else f"{value:.3g}"


def difference(row: Ranked, scale: float) -> str:
    """Write ``+3.1 [1.0, 5.2]``; a dash for the baseline."""
    contrast = row.contrast
    if contrast is None:
        return MISSING
    digits = 1 if scale > 1.0 else 3
    text = f"{scale * contrast.difference:+.{digits}f}"
    if contrast.low is None or contrast.high is None:
        return text
    return f"{text} [{scale * contrast.low:.{digits}f}, {scale * contrast.high:.{digits}f}]"


def markdown(compared: Compared) -> str:
    """Return the tables and the verdicts as Markdown."""
    parts = []
    for sheet in sheets(compared):
        lines = [sheet.headers, tuple("---" for _ in sheet.headers), *sheet.rows]
        body = "\n".join("| " + " | ".join(_markdown(cell) for cell in line) + " |" for line in lines)
        parts.append(f"### {_markdown(sheet.title)}\n\n{body}")
    parts.append("\n".join(f"- {_markdown(sentence)}" for sentence in said.everything(compared)))
    return "\n\n".join(parts) + "\n"


def latex(compared: Compared) -> str:
    """Return the tables as LaTeX; they need the package booktabs."""
    parts = [r"% \usepackage{booktabs} in the preamble"]
    for sheet in sheets(compared):
        lines = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in sheet.rows]
        if sheet.references and sheet.references[0] > 0:
            lines.insert(sheet.references[0], r"\midrule")
        parts += [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{_latex(sheet.title)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(sheet.headers) - 2)}l}}",
            r"\toprule",
            " & ".join(_latex(header) for header in sheet.headers) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    parts += [f"% {_latex(sentence)}" for sentence in said.everything(compared)]
    return "\n".join(parts) + "\n"


def _ranked_sheet(compared: Compared, dataset: str) -> Sheet:
    rows = ranked(compared, dataset)
    shown = tuple(cells(compared, row) for row in rows)
    references = tuple(at for at, row in enumerate(rows) if row.reference)
    title = f"{compared.protocol.name}, {dataset}" if dataset else compared.protocol.name
    return Sheet(title, headers(compared), shown, references)


def _verdict(row: Ranked) -> str:
    states = (("diverged", row.diverged), ("failed", row.failed), ("open", row.unfinished))
    parts = [f"{len(seeds)} {word}" for word, seeds in states if seeds]
    return "; ".join([row.verdict, *parts])


def _markdown(text: str) -> str:
    escaped = re.sub(r"([\\`*_|<>\[\]])", r"\\\1", _one_line(text))
    # A verdict's list item must not become a heading or another list.
    return re.sub(r"^([#+-])(?=\s)", r"\\\1", escaped)


LATEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: "\\" + character for character in "&%$#_{}"},
}


def _latex(text: str) -> str:
    return "".join(LATEX_CHARACTERS.get(character, character) for character in _one_line(text))


def _one_line(text: str | Sequence[str]) -> str:
    return " ".join(str(text).split())
