"""``report.html``: one file that works offline, with every chart of a comparison and each of them as a table."""

from __future__ import annotations

from fedbal.comparison.report.page import NAME, write

__all__ = ["NAME", "write"]
