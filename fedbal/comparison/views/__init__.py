"""What figures and the report draw: numbers of all runs of a data set, put together once and thinned."""

from __future__ import annotations

from fedbal.comparison.views.build import View, views
from fedbal.comparison.views.clients import ClientsView
from fedbal.comparison.views.curves import Band, Course

__all__ = ["Band", "ClientsView", "Course", "View", "views"]
