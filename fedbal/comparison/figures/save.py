"""Draw every figure of a comparison and save it twice: PNG for a look, SVG for a paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbal.comparison.compared import Compared
from fedbal.comparison.palette import Style, styles
from fedbal.comparison.views import View, views
from fedbal.errors import UsageError
from fedbal.results import disk_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"
DOTS = 200
"""Per inch, of a PNG."""

Drawing = Callable[[Compared, View, "dict[str, Style]"], "Figure | None"]


def write(compared: Compared, directory: Path, seen: Sequence[View] | None = None) -> list[Path]:
    """Write ``figures/<data set>-<figure>.png`` and ``.svg``; a figure without anything to draw is left out.

    Parameters
    ----------
    compared : Compared
        The comparison; its run directories are read.
    directory : Path
        Where the folder ``figures`` goes.
    seen : sequence of View, optional
        What :func:`fedbal.comparison.views.views` made of it, where it is there already.

    Raises
    ------
    UsageError
        matplotlib is not installed.
    RunError
        A file cannot be written.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError("figures need matplotlib: pip install 'fedbal[report]'.") from error
    from fedbal.comparison.figures import classes, curves, differences, ranks, scatter

    found = styles(compared.protocol.methods)
    drawings: dict[str, Drawing] = {
        "curves": curves.draw,
        "differences": differences.draw,
        "classes": classes.draw,
        "fairness": scatter.fairness,
        "cost": scatter.cost,
    }
    folder = directory / FOLDER
    paths: list[Path] = []
    # Text stays text in an SVG; a fixed salt and no date give the same bytes again.
    options: Any = {"svg.fonttype": "none", "svg.hashsalt": "fedbal", "font.size": 9.0}
    with disk_errors(folder), matplotlib.rc_context(options):
        folder.mkdir(parents=True, exist_ok=True)
        for view in views(compared) if seen is None else seen:
            start = f"{re.sub(r'[^A-Za-z0-9.=_-]+', '-', view.dataset).strip('-')}-" if view.dataset else ""
            for name, drawing in drawings.items():
                figure = drawing(compared, view, found)
                paths += _save(figure, folder / f"{start}{name}")
        paths += _save(ranks.draw(compared, found), folder / "ranks")
    return paths


def _save(figure: Figure | None, stem: Path) -> list[Path]:
    if figure is None:
        return []
    png, svg = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    figure.savefig(png, dpi=DOTS)
    figure.savefig(svg, metadata={"Date": None})
    return [png, svg]
