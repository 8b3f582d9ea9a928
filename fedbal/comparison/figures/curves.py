"""The primary outcome over rounds: mean over seeds with a band of one standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedbal.comparison.compared import Compared
from fedbal.comparison.figures.parts import beside, order, plain, scale, tidy, unit
from fedbal.comparison.palette import Style
from fedbal.comparison.views import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(compared: Compared, view: View, styles: dict[str, Style]) -> Figure | None:
    """Draw the curves of a data set; None if no run was evaluated.

    Parameters
    ----------
    compared : Compared
        The comparison.
    view : View
        The data set.
    styles : dict
        Style of each method.
    """
    from matplotlib.figure import Figure

    primary = compared.protocol.primary
    known = {label: found for label, found in view.curves.items() if primary.name in found.values}
    if not known:
        return None
    figure = Figure(figsize=(6.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for label in order(compared, known):
        course, style = known[label], styles[label]
        band = course.values[primary.name]
        there = ~np.isnan(band.mean)
        x, factor = course.rounds[there], scale(primary)
        axes.plot(
            x,
            factor * band.mean[there],
            color=style.colour,
            linestyle=style.dash,
            marker=style.marker,
            markersize=4,
            markevery=max(1, len(x) // 8),
            linewidth=1.4,
            label=plain(label),
        )
        low, high = factor * band.low[there], factor * band.high[there]
        axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
    axes.set(xlabel="round", ylabel=unit(primary))
    tidy(axes)
    beside(figure, axes)
    return figure
