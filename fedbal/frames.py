"""Rows of a run as pandas data frames, nested objects flattened into dotted columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fedbal.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one line a row; columns in the order in which the rows name them first.

    Parameters
    ----------
    rows : iterable of Mapping
        Rows of ``rounds.jsonl`` or ``clients.jsonl``.

    Raises
    ------
    UsageError
        pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise UsageError(
            "data frames need pandas: pip install 'fedbal[report]', or read the rows as dictionaries with "
            "fedbal.results.RunReader(directory).rounds()."
        ) from error
    return pd.DataFrame([flatten(row) for row in rows])


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return ``{"test": {"accuracy": 0.9}}`` as ``{"test.accuracy": 0.9}``; lists stay lists in one cell."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
