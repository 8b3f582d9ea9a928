"""Statistics of paired comparisons: plain numbers in, verdicts out; knows neither scenarios nor runs."""

from __future__ import annotations

from importlib.util import find_spec

from fedbal.errors import UsageError


def require() -> None:
    """Check that SciPy is there, which every analysis needs.

    Raises
    ------
    UsageError
        It is not installed.
    """
    if find_spec("scipy") is None:
        raise UsageError("comparing needs SciPy: pip install 'fedbal[report]'.")
