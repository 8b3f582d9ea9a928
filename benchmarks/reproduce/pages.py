"""Fills the parts of docs/methods/*.md between ``<!-- results:STUDY key=value -->`` and ``<!-- /results -->``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.reproduce import results
from benchmarks.reproduce.studies import find_study
from benchmarks.reproduce.study import Study
from benchmarks.reproduce.tables import render
from fedbal.errors import UsageError
from fedbal.results import write_atomically

MARKER = re.compile(r"<!-- results:(\S+)((?: +[\w-]+=\S+)*) -->\n(.*?)<!-- /results -->", re.DOTALL)
IMAGES = Path("images") / "methods"


def write_pages(docs: Path, folder: Path = results.FOLDER) -> list[str]:
    """Fill every marked part from the results files and draw the figures.

    Parameters
    ----------
    docs : Path
        The documentation folder; pages are in ``methods``, figures go to ``images/methods``.
    folder : Path
        Where the results files are.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    UsageError
        A marker names a study that does not exist or is not closed, or there is no marker at all.
    """
    from benchmarks.reproduce.figures import save_figures

    found: list[str] = []
    drawn: set[str] = set()
    for page in sorted((docs / "methods").glob("*.md")):
        text = page.read_text()
        try:
            filled = fill(text, folder)
        except UsageError as error:
            raise UsageError(f"{page}: {error}") from error
        for match in MARKER.finditer(text):
            if match[1] not in drawn:
                drawn.add(match[1])
                study, content = find(match[1], folder)
                if content is not None:
                    found += [str(path) for path in save_figures(study, content, match[1], docs / IMAGES)]
        if filled != text:
            write_atomically(page, filled.encode())
            found.append(str(page))
    if not drawn:
        raise UsageError(f"no page in {docs / 'methods'} has a marker <!-- results:STUDY -->; see --docs.")
    return found


def fill(text: str, folder: Path) -> str:
    """Return a page with every marked part written anew."""

    def part(match: re.Match[str]) -> str:
        study, content = find(match[1], folder)
        arguments = dict(item.split("=", 1) for item in match[2].split())
        if content is None:
            body = f"*Not measured yet: `python -m benchmarks.reproduce {study.name}`.*\n"
        else:
            body = (study.render or render)(content, arguments)
        opening = match[0][: match[0].index("-->") + 3]
        return f"{opening}\n{body.rstrip()}\n<!-- /results -->"

    if text.count("<!-- results:") != len(MARKER.findall(text)):
        raise UsageError("a marker <!-- results:STUDY --> on the page has no <!-- /results --> after it.")
    return MARKER.sub(part, text)


def find(name: str, folder: Path) -> tuple[Study, Mapping[str, Any] | None]:
    """Return the study of a marker and what its results file holds, None before it was run.

    Parameters
    ----------
    name : str
        ``STUDY`` for its committed size, or ``STUDY-SIZE``.
    folder : Path
        Where the results files are.
    """
    study_name, _, size = name.partition("-")
    study = find_study(study_name)
    path = results.results_path(study, size or "cpu", folder)
    return study, results.read(path) if path.is_file() else None
