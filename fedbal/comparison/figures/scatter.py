"""Fairness against accuracy, and outcome against cost: a marker a method, small ones for seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedbal.comparison.compared import Compared
from fedbal.comparison.figures.parts import beside, marked, order, plain, scale, tidy, unit
from fedbal.comparison.palette import Style
from fedbal.comparison.ranked import ranked
from fedbal.comparison.views import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fairness(compared: Compared, view: View, styles: dict[str, Style]) -> Figure | None:
    """Draw the worst tenth of clients against the primary outcome; None if no run has both.

    Parameters are those of :func:`fedbal.comparison.figures.curves.draw`.
    """
    from matplotlib.figure import Figure

    if not view.fairness:
        return None
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    factor = scale(compared.protocol.primary)
    for label in order(compared, view.fairness):
        spread, style = view.fairness[label], styles[label]
        x, y = factor * np.array(spread.primary), 100.0 * np.array(spread.worst)
        axes.plot(x, y, **marked(style, 3.5), alpha=0.35)
        axes.plot([x.mean()], [y.mean()], **marked(style, 9.0), label=plain(label), markeredgecolor="white")
    axes.set(xlabel=unit(compared.protocol.primary), ylabel="worst 10 % of clients, %")
    tidy(axes)
    beside(figure, axes)
    return figure


def cost(compared: Compared, view: View, styles: dict[str, Style]) -> Figure | None:
    """Draw the primary outcome against the bytes of a run; None if no run has both.

    Parameters are those of :func:`fedbal.comparison.figures.curves.draw`.
    """
    from matplotlib.figure import Figure

    primary = compared.protocol.primary
    rows = [row for row in ranked(compared, view.dataset) if row.mean is not None and row.megabytes]
    if not rows:
        return None
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for row in rows:
        assert row.mean is not None
        assert row.megabytes is not None
        error = None if row.sd is None else scale(primary) * row.sd
        style = styles[row.label]
        axes.errorbar(
            [row.megabytes],
            [scale(primary) * row.mean],
            yerr=error,
            **marked(style, 7.0),
            label=plain(row.label),
        )
    axes.set(xlabel="MB of a run, up and down", ylabel=unit(primary))
    tidy(axes)
    beside(figure, axes)
    return figure
