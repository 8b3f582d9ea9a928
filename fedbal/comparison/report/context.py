"""What the page's template is filled with: texts and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

import fedbal
from fedbal.comparison import said, tables
from fedbal.comparison.compared import Compared
from fedbal.comparison.methods_text import declared_text, methods_text, tuning_text, window_text
from fedbal.comparison.ranked import Ranked, ranked
from fedbal.comparison.report.leaving import leaving
from fedbal.comparison.report.numbers import numbers
from fedbal.comparison.report.sheets import (
    commands,
    fingerprints,
    machine,
    pairing_sheet,
    target_sheets,
    trouble_sheet,
    tuning_sheet,
)
from fedbal.comparison.scope import scope
from fedbal.comparison.views import View
from fedbal.terminal import MISSING

SIGNS = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": "?", "baseline": "●"}
SHAPES = {
    "circle": "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0-5 0Z",
    "square": "M-4.5-4.5H4.5V4.5H-4.5Z",
    "triangle-up": "M0-5.5L5.5 4.5H-5.5Z",
    "diamond": "M0-6L6 0L0 6L-6 0Z",
    "triangle-down": "M0 5.5L5.5-4.5H-5.5Z",
    "cross": "M-2-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    "x": "M-5-3L-3-5L0-2L3-5L5-3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0Z",
    "star": "M0-6.5L1.6-2.2H6.2L2.6.6L3.8 5L0 2.4L-3.8 5L-2.6.6L-6.2-2.2H-1.6Z",
    "triangle-left": "M-5.5 0L4.5-5.5V5.5Z",
    "triangle-right": "M5.5 0L-4.5-5.5V5.5Z",
    "hexagon": "M0-6L5.2-3V3L0 6L-5.2 3V-3Z",
    "pentagon": "M0-6L5.7-1.9L3.5 4.9H-3.5L-5.7-1.9Z",
}
"""Markers of the rule buttons, drawn as in the charts."""
DASHES = {"solid": "none", "dash": "5 3", "dot": "2 2", "dashdot": "5 2 2 2"}


def context(compared: Compared, seen: Sequence[View]) -> dict[str, Any]:
    """Return everything that the template names.

    Parameters
    ----------
    compared : Compared
        The comparison.
    seen : sequence of View
        Its data sets.
    """
    protocol, analysis = compared.protocol, compared.analysis
    has = _has(compared, seen)
    first = next((view.clients for view in seen if view.clients), None)
    shown = numbers(compared, ())["methods"]
    sheets = tables.sheets(compared)
    troubles = trouble_sheet(compared)
    return {
        "version": fedbal.__version__,
        "title": f"Comparison: {protocol.name}",
        "contents": _contents(has),
        "has": has,
        "methods": shown,
        "shapes": SHAPES,
        "dashes": DASHES,
        "signs": SIGNS,
        "headline": said.headline(compared),
        "scope": scope(compared.scenario, protocol),
        "declared": declared_text(protocol),
        "notes": said.notes(compared),
        "primary": protocol.primary,
        "baseline": protocol.baseline,
        "window": window_text(protocol).removeprefix("mean over the ") if protocol.primary.share else "",
        "personal": ", ".join(method.label for method in protocol.methods if method.tests),
        "headers": tables.headers(compared),
        "datasets": [
            {
                "title": dataset,
                "verdicts": said.verdicts(compared, dataset, analysis.contrasts),
                "references": said.verdicts(compared, dataset, analysis.references),
                "rows": [_row(compared, row) for row in ranked(compared, dataset)],
            }
            for dataset in protocol.datasets
        ],
        "across": sheets[-1] if analysis.across else None,
        "critical": analysis.critical_difference,
        "clients_seed": first.seed if first else None,
        "clients_note": (
            f"The {len(first.names)} clients with the most samples are shown, of {first.total}."
            if first and first.total > len(first.names)
            else ""
        ),
        "measure": _measure(seen),
        "targets": target_sheets(compared),
        "leaving": leaving(protocol.methods, compared.records),
        "tuning_text": tuning_text(compared),
        "tuning_warnings": [
            warning for one in _tuned(compared).values() for warning in one.get("warnings", ())
        ],
        "tuning_sheet": tuning_sheet(compared),
        "troubles": troubles if troubles.rows else None,
        "runs": len(compared.records),
        "pairing": compared.pairing,
        "pairing_sheet": pairing_sheet(compared),
        "commands": commands(compared),
        "machine": machine(compared),
        "fingerprints": fingerprints(compared),
        "scenario": yaml.safe_dump(dict(compared.scenario), sort_keys=False, allow_unicode=True),
        "methods_text": methods_text(compared),
    }


def _has(compared: Compared, seen: Sequence[View]) -> dict[str, bool]:
    return {
        "ranks": bool(compared.analysis.ranks),
        "classes": any(view.heat for view in seen),
        "weights": any(view.clients and view.clients.weights for view in seen),
        "fairness": any(view.fairness for view in seen),
        "personal": any(view.personal for view in seen),
        "partition": any(view.clients for view in seen),
        "tuning": bool(_tuned(compared)),
    }


def _measure(seen: Sequence[View]) -> str:
    """Return what the class map holds."""
    heat = next((view.heat for view in seen if view.heat), None)
    return "Dice" if heat is not None and heat.metric.endswith("dice") else "Recall"


def _tuned(compared: Compared) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (compared.tuning or {}).get("methods", {})
    return found


def _contents(has: Mapping[str, bool]) -> list[tuple[str, str]]:
    sections = [
        ("verdict", "Verdict"),
        ("ranking", "Ranked table"),
        ("ranks", "Over all data sets"),
        ("curves", "Curves"),
        ("differences", "Differences"),
        ("classes", "Classes"),
        ("weights", "Weights"),
        ("fairness", "Fairness"),
        ("personal", "Own models"),
        ("cost", "Cost"),
        ("partition", "Who holds what"),
        ("leaves", "What leaves a site"),
        ("tuning", "Tuning"),
        ("runs", "Runs"),
        ("pairing", "Pairing"),
        ("reproduce", "How to reproduce"),
        ("methods", "Methods section"),
    ]
    return [(id, name) for id, name in sections if has.get(id, True)]


def _row(compared: Compared, row: Ranked) -> dict[str, Any]:
    contrast = row.contrast
    p = None if contrast is None else (contrast.p if row.reference else contrast.p_adjusted)
    values = (
        *(row.label, row.mean, contrast and contrast.difference, p, row.few, row.worst, row.alone),
        *(row.megabytes, row.dropped, row.verdict),
    )
    shown = tables.cells(compared, row)
    _, _, remark = shown[-1].partition("; ")
    return {
        "reference": row.reference,
        "verdict": row.verdict if row.verdict != MISSING else "",
        "remark": remark,
        "cells": [(cell, "" if value is None else value) for cell, value in zip(shown, values, strict=True)],
    }
