"""Figures for papers: PNG and SVG of curves, differences, classes, fairness, cost and ranks."""

from __future__ import annotations

from fedbal.comparison.figures.save import FOLDER, write

__all__ = ["FOLDER", "write"]
