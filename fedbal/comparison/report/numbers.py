"""What the charts of the report draw, as JSON that is safe inside a script element."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fedbal.comparison.compared import Compared
from fedbal.comparison.curves import ClassHeat
from fedbal.comparison.palette import PLOTLY_DASHES, PLOTLY_MARKERS, styles
from fedbal.comparison.records import Outcome
from fedbal.comparison.views import Course, View
from fedbal.comparison.views.clients import ClientsView

DIGITS = 4
"""Significant digits: more than a chart shows."""


def numbers(compared: Compared, seen: Sequence[View]) -> dict[str, Any]:
    """Return plain values for all charts.

    Parameters
    ----------
    compared : Compared
        The comparison.
    seen : sequence of View
        Its data sets.
    """
    protocol, found = compared.protocol, styles(compared.protocol.methods)
    tuned = (compared.tuning or {}).get("methods", {})
    return {
        "primary": outcome(protocol.primary),
        "baseline": protocol.baseline,
        "margin": protocol.margin,
        "methods": [
            {
                "label": method.label,
                "reference": method.reference,
                "colour": found[method.label].colour,
                "symbol": PLOTLY_MARKERS[found[method.label].marker],
                "dash": PLOTLY_DASHES[found[method.label].dash],
            }
            for method in protocol.methods
        ],
        "datasets": [_dataset(view) for view in seen],
        "ranks": dict(compared.analysis.ranks),
        "critical": compared.analysis.critical_difference,
        "tuning": {label: list(one["best_of"]) for label, one in tuned.items()},
    }


def outcome(one: Outcome) -> dict[str, Any]:
    """Return what an axis needs to know of an outcome."""
    return {"key": one.name, "label": one.label, "percent": one.percent}


def encode(content: Mapping[str, Any]) -> str:
    """Write JSON with short numbers; nothing in it can end the script element that holds it."""
    text = json.dumps(_short(content), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    unsafe = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    for character, escaped in unsafe.items():
        text = text.replace(character, escaped)
    return text


def _dataset(view: View) -> dict[str, Any]:
    return {
        "label": view.dataset,
        "outcomes": [outcome(one) for one in view.outcomes],
        "curves": {label: _curve(curve) for label, curve in view.curves.items()},
        "differences": [
            {
                "method": one.method,
                "seeds": list(one.differences),
                "values": list(one.differences.values()),
                "mean": one.difference,
                "low": one.low,
                "high": one.high,
            }
            for one in view.contrasts
        ],
        "classes": None if view.heat is None else _classes(view.heat),
        "clients": _clients(view.clients) if view.clients else None,
        "fairness": {label: vars(one) for label, one in view.fairness.items()},
        "personal": {
            label: {"global": shared, "personal": own} for label, (shared, own) in view.personal.items()
        },
        "cost": {label: vars(one) for label, one in view.cost.items()},
    }


def _curve(curve: Course) -> dict[str, Any]:
    return {
        "rounds": curve.rounds,
        "bytes": curve.megabytes,
        "seconds": curve.seconds,
        "values": {name: vars(band) for name, band in curve.values.items()},
    }


def _classes(heat: ClassHeat) -> dict[str, Any]:
    return {
        "metric": "Dice" if heat.metric.endswith("dice") else "recall",
        "classes": heat.classes,
        "counts": None if np.isnan(heat.training).any() else heat.training.round().astype(np.int64),
        "recall": dict(zip(heat.methods, heat.values, strict=True)),
    }


def _clients(view: ClientsView) -> dict[str, Any]:
    return {
        "names": view.names,
        "classes": view.classes,
        "samples": view.samples,
        "mix": view.mix,
        "rounds": view.rounds,
        "weights": view.weights,
    }


def _short(value: Any) -> Any:
    """Round numbers, and write what does not exist as null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _short(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_short(item) for item in value]
    return value
