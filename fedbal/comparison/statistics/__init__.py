"""Statistics of paired comparisons: plain numbers in, verdicts out; knows neither scenarios nor runs."""

from __future__ import annotations

from importlib.util import find_spec

from fedbal.errors import UsageError


def require() -> None:
    """Check that the packages are there that every analysis needs.

    Raises
    ------
    UsageError
        SciPy or statsmodels is not installed.
    """
    missing = [name for name in ("scipy", "statsmodels") if find_spec(name) is None]
    if missing:
        raise UsageError(f"comparing needs {' and '.join(missing)}: pip install 'fedbal[report]'.")
