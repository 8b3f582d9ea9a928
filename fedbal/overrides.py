"""Changes from the command line: ``strategy.a=0.3``, ``strategy={name: fedprox, mu: 1}``."""

from __future__ import annotations

from typing import Any

from fedbal.document import Document, Location, Problem, dotted
from fedbal.errors import UsageError
from fedbal.scenario_blocks import EXCLUSIVE
from fedbal.yaml_source import parse

SET = "--set"


def apply(document: Document, text: str) -> None:
    """Apply one override to a document, noting where the values came from.

    Parameters
    ----------
    document : Document
        What has been read so far; changed in place.
    text : str
        ``dotted.key=value``; the value is YAML. Missing blocks on the way are created, short forms
        (``strategy: fedavg``) are written out, and a key that excludes another one of the file replaces it.

    Raises
    ------
    UsageError
        The text is not ``key=value``, or the value is not YAML.
    """
    origin = f"{SET} {text}"
    key, separator, value_text = text.partition("=")
    parts: tuple[str, ...] = tuple(part.strip() for part in key.split("."))
    if not separator or not all(parts):
        raise UsageError(f"{origin}: write dotted.key=value, as in {SET} strategy.a=0.3.")
    parsed = parse(value_text, origin, lines=False)
    if parsed.value is None and not parsed.problems:
        message = "got nothing; a value is needed, the way to a default is to leave the key out of the file."
        parsed.problems.append(Problem(origin, (), message))
    document.problems.extend(
        Problem(problem.where, (*parts, *problem.location), problem.message) for problem in parsed.problems
    )
    if not isinstance(document.value, dict):
        return
    block = _descend(document, parts, origin)
    if block is None:
        return
    _forget(document, parts)
    other = EXCLUSIVE.get(parts)
    if other in block and not document.mark((*parts[:-1], other)).startswith(SET):
        del block[other]
    if parsed.value is None:
        block.pop(parts[-1], None)
    else:
        block[parts[-1]] = parsed.value
    for location in [(), *parsed.marks]:
        document.marks[(*parts, *location)] = origin


def _descend(document: Document, parts: tuple[str, ...], origin: str) -> dict[str, Any] | None:
    """Return the block that holds the last key, creating and writing out what is missing on the way."""
    block: dict[str, Any] = document.value
    for depth, part in enumerate(parts[:-1], 1):
        here = parts[:depth]
        inner = _written_out(here, block.get(part))
        if not isinstance(inner, dict):
            what = "a list" if isinstance(inner, list) else f"the value {inner}"
            message = f"{dotted(here)} is {what} and has no keys; set {dotted(here)} itself."
            document.problems.append(Problem(origin, parts, message))
            return None
        if part not in block:
            document.marks[here] = origin
        block[part] = inner
        block = inner
    return block


def _written_out(location: Location, value: Any) -> Any:
    if value is None:
        return {}
    if isinstance(value, str):
        return {"dataset" if location == ("data",) else "name": value}
    if location == ("seed",) and isinstance(value, int) and not isinstance(value, bool):
        return {"partition": value, "init": value, "training": value}
    return value


def _forget(document: Document, location: Location) -> None:
    """Drop the lines of what is replaced; what was wrong with the file stays wrong."""
    length = len(location)
    for known in [known for known in document.marks if known[:length] == location]:
        del document.marks[known]
