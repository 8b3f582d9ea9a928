"""The pages of the documentation, taken apart: fenced blocks and what the comment before each says of it.

A comment on the line before a fence is a directive, invisible to readers:

``<!-- run -->``                            the block is executed and must exit with 0
``<!-- run exit=2 needs=onnx,pandas -->``   with another code; left out where a module is not installed
``<!-- run until="round " exit=130 -->``    interrupted, as by Ctrl-C, as soon as it prints that
``<!-- file: NAME -->``                     the block is written to NAME for the blocks that follow
``<!-- output -->``                         its lines are found, in this order, in what the block before printed
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    directive: str
    code: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def kind(self) -> str:
        """What is to be done with it: run, file, output, or nothing."""
        return self.directive.split(":")[0].split()[0] if self.directive else ""

    @property
    def options(self) -> dict[str, str]:
        words = shlex.split(self.directive)[1:]
        return dict(word.split("=", 1) for word in words if "=" in word)


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    found = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        before = re.fullmatch(r"<!-- (.*) -->", lines[start - 1]) if start else None
        directive = before.group(1) if before and before.group(1).split(":")[0].split()[0] in KINDS else ""
        code = "\n".join(lines[start + 1 : number]) + "\n"
        found.append(Block(page, start + 1, lines[start].removeprefix("```").strip(), directive, code))
        start = None
    assert start is None, f"{page}:{start} opens a block that nothing closes"
    return found


KINDS = ("run", "file", "output")


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def require_output(expected: str, seen: str, where: str) -> None:
    """Find the expected lines in the output in order; fractions may differ, ``...`` stands for any lines."""
    rest = [_masked(line) for line in seen.splitlines()]
    for line in expected.splitlines():
        wanted = _masked(line)
        if wanted in ("", "..."):
            continue
        while rest and wanted not in rest[0]:
            rest.pop(0)
        assert rest, f"{where}: the line {line!r} does not come (in this order) in\n{seen}"
        rest.pop(0)


def _masked(line: str) -> str:
    return " ".join(re.sub(r"\d+\.\d+", "#", line).split())
