"""Durations as people write them: ``90``, ``90s``, ``10m``, ``2h``; in code always seconds."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d)?")
_SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse(value: str) -> float:
    """Return the seconds that a text means.

    Raises
    ------
    ValueError
        It is no duration.

    Examples
    --------
    >>> parse("10m"), parse("1.5h"), parse("20")
    (600.0, 5400.0, 20.0)
    """
    match = _WRITTEN.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is no duration; write seconds, or 90s, 10m, 2h")
    return float(match[1]) * _SECONDS[match[2]]


def _seconds(value: Any) -> Any:
    return parse(value) if isinstance(value, str) else value


def _schema(**bound: float) -> WithJsonSchema:
    written = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*[smhd]?$"}
    return WithJsonSchema({"anyOf": [{"type": "number", **bound}, written]})


Duration = Annotated[float, BeforeValidator(_seconds), Field(gt=0.0), _schema(exclusiveMinimum=0)]
"""A parameter in seconds, > 0, that may be written with a unit."""
Pause = Annotated[float, BeforeValidator(_seconds), Field(ge=0.0), _schema(minimum=0)]
"""A parameter in seconds, >= 0, that may be written with a unit."""
