"""Recall (masks: Dice) of each class under each rule, as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedbal.comparison.compared import Compared
from fedbal.comparison.figures.parts import plain
from fedbal.comparison.palette import Style
from fedbal.comparison.views import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_WRITTEN = 20
"""Classes up to which each cell holds its number."""


def draw(compared: Compared, view: View, styles: dict[str, Style]) -> Figure | None:
    """Draw the map of a data set; None if no method has a common model.

    Parameters are those of :func:`fedbal.comparison.figures.curves.draw`.
    """
    from matplotlib.figure import Figure

    heat = view.heat
    if heat is None:
        return None
    values = 100.0 * heat.values
    rows, columns = values.shape
    figure = Figure(figsize=(2.6 + min(8.0, 0.42 * columns), 1.1 + 0.3 * rows), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, vmin=0.0, vmax=100.0, cmap="cividis", aspect="auto")
    axes.set_yticks(range(rows), [plain(label) for label in heat.methods])
    if columns <= 2 * MOST_WRITTEN:
        axes.set_xticks(range(columns), [plain(name) for name in heat.classes])
        if max(len(name) for name in heat.classes) > 3:
            axes.tick_params(axis="x", rotation=60)
    if columns <= MOST_WRITTEN:
        for row, column in np.argwhere(~np.isnan(values)):
            value = values[row, column]
            colour = "white" if value < 50.0 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=7)
    axes.set_xlabel("class")
    metric = "Dice" if heat.metric.endswith("dice") else "recall"
    figure.colorbar(image, ax=axes, label=f"{metric}, %")
    return figure
