"""What all figures share: names that are only text, lines, legends, axis labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedbal.comparison.compared import Compared
from fedbal.comparison.palette import Style
from fedbal.comparison.records import Outcome

LONGEST = 28


def plain(name: str) -> str:
    """Return a name as matplotlib shows it literally: no mathematics, not too long."""
    short = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return short.replace("$", r"\$")


def unit(outcome: Outcome) -> str:
    """Return an axis label."""
    return f"{plain(outcome.label)}, %" if outcome.percent else plain(outcome.label)


def scale(outcome: Outcome) -> float:
    """Return what values are multiplied with."""
    return 100.0 if outcome.percent else 1.0


def order(compared: Compared, known: Mapping[str, Any]) -> list[str]:
    """Return the labels that have something to draw, as declared."""
    return [method.label for method in compared.protocol.methods if method.label in known]


def marked(style: Style, size: float = 5.0) -> dict[str, Any]:
    """Return options of markers without a line."""
    return {"color": style.colour, "marker": style.marker, "markersize": size, "linestyle": "none"}


def tidy(axes: Any) -> None:
    """Give axes a light grid and no box."""
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def beside(figure: Any, axes: Any) -> None:
    """Put the legend outside, to the right."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", frameon=False)
