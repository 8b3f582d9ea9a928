"""The critical difference diagram: mean ranks on a line, groups that do not differ joined by a bar.

J. Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedbal.comparison.compared import Compared
from fedbal.comparison.figures.parts import plain
from fedbal.comparison.palette import Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(compared: Compared, styles: dict[str, Style]) -> Figure | None:
    """Draw the diagram; None without a critical difference.

    Parameters
    ----------
    compared : Compared
        The comparison.
    styles : dict
        Style of each method.
    """
    from matplotlib.figure import Figure

    critical = compared.analysis.critical_difference
    placed = sorted(compared.analysis.ranks.items(), key=lambda one: one[1])
    if critical is None or not placed:
        return None
    bars = groups([rank for _, rank in placed], critical)
    half = -(-len(placed) // 2)
    figure = Figure(figsize=(6.6, 1.5 + 0.26 * half + 0.14 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    first, last = 1.0, float(max(2, len(placed)))
    below = 0.35 * (len(bars) + 1)
    axes.plot([first, last], [0.0, 0.0], color="black", linewidth=1.0)
    for tick in range(1, len(placed) + 1):
        axes.plot([tick, tick], [0.0, 0.12], color="black", linewidth=1.0)
        axes.text(tick, 0.2, str(tick), ha="center", va="bottom", fontsize=8)
    for level, (low, high) in enumerate(bars, 1):
        axes.plot([low - 0.04, high + 0.04], [-0.35 * level] * 2, color="black", linewidth=3.0)
    for at, (label, rank) in enumerate(placed):
        left = at < half
        depth = -below - 0.55 * (at if left else len(placed) - 1 - at) - 0.3
        edge = first - 0.3 if left else last + 0.3
        axes.plot([rank, rank, edge], [0.0, depth, depth], color=styles[label].colour, linewidth=1.2)
        axes.plot([rank], [0.0], color=styles[label].colour, marker=styles[label].marker, markersize=6)
        axes.text(
            edge + (-0.05 if left else 0.05),
            depth,
            f"{plain(label)} ({rank:.2f})",
            ha="right" if left else "left",
            va="center",
            fontsize=8,
        )
    axes.plot([first, first + critical], [1.0, 1.0], color="black", linewidth=1.5, marker="|")
    axes.text(
        first + critical / 2.0,
        1.1,
        f"critical difference {critical:.2f}",
        ha="center",
        va="bottom",
        fontsize=8,
    )
    axes.set_xlim(first - 1.5, last + 1.5)
    axes.axis("off")
    return figure


def groups(ranks: Sequence[float], critical: float) -> list[tuple[float, float]]:
    """Return the longest stretches of sorted ranks that span at most the critical difference.

    Parameters
    ----------
    ranks : sequence of float
        Ascending.
    critical : float
        Critical difference, > 0.
    """
    found: list[tuple[float, float]] = []
    for at, low in enumerate(ranks):
        high = max(rank for rank in ranks[at:] if rank - low <= critical)
        if high > low and not (found and found[-1][1] >= high):
            found.append((low, high))
    return found
