"""Differences from the baseline: a marker a seed, the mean and its 95 % interval, the margin of equivalence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedbal.comparison.compared import Compared
from fedbal.comparison.figures.parts import marked, plain, scale, tidy
from fedbal.comparison.palette import Style
from fedbal.comparison.views import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(compared: Compared, view: View, styles: dict[str, Style]) -> Figure | None:
    """Draw the differences of a data set; None if nothing has a pair.

    Parameters are those of :func:`fedbal.comparison.figures.curves.draw`.
    """
    from matplotlib.figure import Figure

    found = view.contrasts
    if not found:
        return None
    protocol = compared.protocol
    factor = scale(protocol.primary)
    figure = Figure(figsize=(6.0, 0.9 + 0.36 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(-factor * protocol.margin, factor * protocol.margin, color="0.85", linewidth=0)
    axes.axvline(0.0, color="0.4", linewidth=1.0)
    for at, contrast in enumerate(found):
        style = styles[contrast.method]
        seeds = [factor * value for value in contrast.differences.values()]
        spread = [at + 0.09 * (seed % 5 - 2) for seed in range(len(seeds))]
        axes.plot(seeds, spread, **marked(style, 4.5), markerfacecolor="none", alpha=0.7)
        if contrast.low is not None and contrast.high is not None:
            ends = [factor * contrast.low, factor * contrast.high]
            axes.plot(ends, [at, at], color=style.colour, linewidth=2.2)
        axes.plot(
            [factor * contrast.difference],
            [at],
            color=style.colour,
            marker="|",
            markersize=14,
            markeredgewidth=2.2,
        )
    axes.set_yticks(range(len(found)), [plain(contrast.method) for contrast in found])
    axes.invert_yaxis()
    points = "points" if protocol.primary.percent else ""
    label = f"difference from {plain(protocol.baseline)} in {plain(protocol.primary.label)}"
    axes.set_xlabel(f"{label}, {points}" if points else label)
    tidy(axes)
    axes.grid(visible=False, axis="y")
    return figure
