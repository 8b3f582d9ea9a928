"""How methods look in every figure: colours that colour-blind readers tell apart, and a marker and dash each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedbal.comparison.records import Method

# Okabe and Ito, "Color universal design" (2008), without black and yellow: legible on white and on black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREYS = ("#6E6E6E", "#8C8C8C")
"""Of reference rows."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")
"""Matplotlib's names; a further method begins again with another dash."""
DASHES = ("solid", "dashed", "dotted", "dashdot")

PLOTLY_MARKERS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
    "<": "triangle-left",
    ">": "triangle-right",
    "h": "hexagon",
    "p": "pentagon",
}
PLOTLY_DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot", "dashdot": "dashdot"}


@dataclass(frozen=True)
class Style:
    """Colour, marker and dash of a method, in matplotlib's names; no two methods share all three."""

    colour: str
    marker: str
    dash: str


def styles(methods: Sequence[Method]) -> dict[str, Style]:
    """Return each method's style; it depends on its place among the methods alone.

    Parameters
    ----------
    methods : sequence of Method
        As declared.
    """
    rules = [method.label for method in methods if not method.reference]
    references = [method.label for method in methods if method.reference]
    found = {
        label: Style(
            COLOURS[at % len(COLOURS)],
            MARKERS[at % len(MARKERS)],
            DASHES[at // len(COLOURS) % len(DASHES)],
        )
        for at, label in enumerate(rules)
    }
    for at, label in enumerate(references):
        # Counted from the end, so that references and rules seldom share a marker.
        found[label] = Style(
            GREYS[at % len(GREYS)],
            MARKERS[-1 - at % len(MARKERS)],
            DASHES[1 + at % (len(DASHES) - 1)],
        )
    return found
