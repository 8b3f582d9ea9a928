"""From what a validator found to one line a problem: file, line, key, value, what is allowed, how to fix."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fedbal.document import Document, Location, Problem
from fedbal.errors import UsageError
from fedbal.registry import nearest
from fedbal.scenario_schema import Fragment, Trace

_MISSING = object()


def explain(error: ValidationError, document: Document, schema: Fragment) -> list[Problem]:
    """Reword the errors of a validation, one problem a key, leaving out keys that have one already."""
    taken = {problem.location for problem in document.problems}
    problems: list[Problem] = []
    grouped: dict[Location, list[tuple[ErrorDetails, Trace]]] = {}
    for details in error.errors(include_url=False):
        trace = Trace(schema, details["loc"], document.value, missing=details["type"] == "missing")
        grouped.setdefault(_key(details, trace, document.value), []).append((details, trace))
    for location, found in grouped.items():
        if location in taken or (location == () and taken):
            continue
        details, trace = found[0]
        message = _message(details, trace, _get(document.value, location), location)
        problems.append(Problem(document.mark(location), location, message))
    return problems


def collect(document: Document) -> None:
    """Raise all problems of a document at once, in the order of its lines."""
    if document.problems:
        ordered = sorted(document.problems, key=lambda problem: _line(problem.where))
        raise UsageError("\n".join(dict.fromkeys(str(problem) for problem in ordered)))


def check_plain(raw: Mapping[str, Any], origin: str) -> Document:
    """Copy plain values from Python, refusing what a file could not hold (null, NaN, infinity)."""
    document = Document(None)
    document.marks[()] = origin

    def copy(value: Any, location: Location) -> Any:
        if isinstance(value, Mapping):
            return {str(key): copy(item, (*location, str(key))) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [copy(item, (*location, index)) for index, item in enumerate(value)]
        if value is None:
            message = "got None; a value is needed: leave the key out to get its default."
            document.problems.append(Problem(origin, location, message))
        elif isinstance(value, float) and not math.isfinite(value):
            document.problems.append(Problem(origin, location, f"got {value}; a finite number is needed."))
        return value

    document.value = copy(raw, ())
    return document


def _key(details: ErrorDetails, trace: Trace, raw: Any) -> Location:
    """Return the key a problem belongs to; a wrong name belongs to ``name``, unless it is the short form."""
    location, kind = trace.location, details["type"]
    block = _get(raw, location)
    if kind == "component_name" and isinstance(block, Mapping):
        return (*location, "name")
    if kind == "union_tag_invalid" and isinstance(block, Mapping):
        return (*location, _discriminator(details))
    return location


def _message(details: ErrorDetails, trace: Trace, value: Any, location: Location) -> str:
    kind = details["type"]
    given = f"got {show(value)}; "
    if kind == "missing":
        return f"missing; {_allowed(trace)}; add it."
    if kind == "extra_forbidden":
        known = trace.siblings
        close = nearest(str(location[-1]), known)
        guess = f" did you mean {' or '.join(close)}?" if close else ""
        return f"unknown key;{guess} allowed here: {', '.join(known) or 'no keys'}."
    if kind == "union_tag_invalid":
        tag = _discriminator(details)
        names = trace.names(tag)
        close = nearest(value, names) if isinstance(value, str) else []
        guess = f"did you mean {' or '.join(close)}? " if close else ""
        kind_of = "dataset" if tag == "dataset" else str(trace.location[-1])
        return f"{given}unknown {kind_of}; {guess}available: {', '.join(names)}."
    if kind == "union_tag_not_found":
        tag = _discriminator(details)
        return f"the key `{tag}` is missing; one of {', '.join(trace.names(tag))}."
    if kind in ("value_error", "component", "component_name"):
        text = details["msg"].removeprefix("Value error, ")
        return f"{given}{text.rstrip('.')}."
    return f"{given}{_allowed(trace) or details['msg']}{_hint(kind, value, trace)}."


def _allowed(trace: Trace) -> str:
    words, more = trace.allowed(), trace.description().rstrip(".")
    needed = f"{words} is needed" if words else ""
    return f"{needed} ({more})" if needed and more else needed or more


def _hint(kind: str, value: Any, trace: Trace) -> str:
    if isinstance(value, str) and kind in ("int_type", "float_type"):
        try:
            float(value)
        except ValueError:
            return ""
        return "; remove the quotes"
    if isinstance(value, float) and kind == "int_type" and value.is_integer():
        return f"; write {int(value)}"
    if isinstance(value, int | float) and kind == "string_type":
        return "; put it in quotes"
    return ""


def show(value: Any) -> str:
    """Write a value as YAML flow text, shortened."""
    if value is _MISSING:
        return "nothing"
    if isinstance(value, str):
        text = value if value and value.isprintable() and value == value.strip() else json.dumps(value)
        if _looks_like_a_number(value) or value in ("true", "false", "null"):
            text = f'"{value}"'
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError):
            text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _looks_like_a_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _discriminator(details: ErrorDetails) -> str:
    return str(details.get("ctx", {}).get("discriminator", "name")).strip("'")


def _get(raw: Any, location: Location) -> Any:
    for part in location:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return raw


def _line(where: str) -> float:
    number = where.rpartition(":")[2]
    return int(number) if number.isdigit() and not where.startswith("--set") else math.inf
