"""Read YAML into plain values that remember their lines, and refuse what a scenario must not contain.

Scalars follow the YAML 1.2 core schema (only ``true`` and ``false`` are booleans, ``1e-3`` is a number, there
are no timestamps, sexagesimals or octals). Nothing is ever constructed from a tag: the text is composed into
nodes and the nodes are turned into dictionaries, lists, strings, numbers and booleans here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from fedbal.document import Document, Location, Problem
from fedbal.errors import UsageError

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 64

TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
RESOLVERS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), "tTfF"),
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), "~nN\0"),
    ("int", re.compile(rf"(?:{_INT.pattern})\Z"), "-+0123456789"),
    ("float", re.compile(rf"(?:{_FLOAT.pattern}|{_SPECIAL.pattern})\Z"), "-+0123456789."),
)


def read(path: Path) -> Document:
    """Read a scenario file.

    Raises
    ------
    UsageError
        The file cannot be read, is over 1 MiB, is not UTF-8, or is not one well-formed YAML document.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{path}: larger than 1 MiB; a scenario is a short YAML file, data belongs elsewhere."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8.") from error
    document = parse(text, str(path))
    if document.value is None and not document.problems:
        raise UsageError(f"{path}: empty; a scenario needs at least name, rounds, data, model and strategy.")
    return document


def parse(text: str, origin: str, *, lines: bool = True) -> Document:
    """Parse one YAML document.

    Parameters
    ----------
    text : str
        The YAML text.
    origin : str
        What messages call it: a file name or ``--set key=value``.
    lines : bool
        Whether to put the line number behind ``origin``.

    Raises
    ------
    UsageError
        The text is not one well-formed YAML document, or expands to more than 100 000 values.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UsageError(f"{_where(origin, mark, lines)}: {_syntax(error)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        at = f"{origin}:{line}" if lines else origin
        raise UsageError(f"{at}: a character that YAML does not allow (code {error.character!r}).") from error
    document = Document(None)
    if node is not None and not (_is_null(node) and not getattr(node, "value", "")):
        _Builder(document, origin, lines).build(node, ())
    return document


class _Loader(yaml.SafeLoader):
    """Composes nodes with YAML 1.2 scalars; never used to construct objects."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._nodes += 1
        self._depth += 1
        if self._nodes > MAX_NODES or self._depth > MAX_DEPTH:
            what = f"{MAX_NODES} values" if self._nodes > MAX_NODES else f"{MAX_DEPTH} levels"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"more than {what}", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _name, _pattern, _first in RESOLVERS:
    for _character in _first:
        _key = "" if _character == "\0" else _character
        _Loader.yaml_implicit_resolvers.setdefault(_key, []).append((TAG + _name, _pattern))


class _Builder:
    """Turns nodes into plain values, noting lines and collecting problems."""

    def __init__(self, document: Document, origin: str, lines: bool) -> None:
        self.document = document
        self.origin = origin
        self.lines = lines
        self.count = 0

    def build(self, node: yaml.Node, location: Location) -> None:
        self.document.marks.setdefault((), _where(self.origin, node.start_mark, self.lines))
        self.document.value = self._value(node, location)

    def _value(self, node: yaml.Node, location: Location) -> Any:
        self.count += 1
        if self.count > MAX_NODES or len(location) > MAX_DEPTH:
            raise UsageError(
                f"{_where(self.origin, node.start_mark, self.lines)}: aliases expand to more than "
                f"{MAX_NODES} values or {MAX_DEPTH} levels; write the values out instead of nesting aliases."
            )
        self.document.marks.setdefault(location, _where(self.origin, node.start_mark, self.lines))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            if node.tag != TAG + "seq":
                self._tag_refused(node, location)
                return None
            return [self._value(item, (*location, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> Any:
        if node.tag != TAG + "map":
            self._tag_refused(node, location)
            return None
        result: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            where = _where(self.origin, key_node.start_mark, self.lines)
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
                self._problem(where, location, "got a key that is not a name; write `key: value`.")
                continue
            key = key_node.value
            here = (*location, key)
            if key == "<<":
                self._problem(where, here, "merge keys are not allowed; write the keys out.")
            elif key in result or key in first:
                self._problem(
                    where, here, f"given twice, in line {first[key]} and in line {line}; delete one of them."
                )
            else:
                first[key] = line
                self.document.marks[here] = where
                before = len(self.document.problems)
                value = self._value(value_node, here)
                if value is not None or len(self.document.problems) == before:
                    result[key] = value
        return result

    def _scalar(self, node: yaml.Node, location: Location) -> Hashable:
        text: str = node.value
        kind = node.tag.removeprefix(TAG)
        try:
            if kind == "str":
                return text
            if kind == "bool" and text.lower() in ("true", "false"):
                return text.lower() == "true"
            if kind == "int" and _INT.fullmatch(text):
                return int(text)
            if kind == "float" and _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
                return number
        except ValueError:  # Python refuses integers of more than 4300 digits
            pass
        if kind == "null":
            message = "got null; a value is needed: leave the key out to get its default."
        elif kind in ("int", "float"):
            message = f"got {text[:40]}; a finite number is needed."
        else:
            self._tag_refused(node, location)
            return None
        self._problem(self.document.marks[location], location, message)
        return None

    def _tag_refused(self, node: yaml.Node, location: Location) -> None:
        shown = node.tag.replace(TAG, "!!")
        self._problem(self.document.marks[location], location, f"the tag {shown} is not allowed; remove it.")

    def _problem(self, where: str, location: Location, message: str) -> None:
        self.document.problems.append(Problem(where, location, message))


def _is_null(node: yaml.Node) -> bool:
    return node.tag == TAG + "null"


def _where(origin: str, mark: Any, lines: bool) -> str:
    return f"{origin}:{mark.line + 1}" if lines and mark is not None else origin


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be read"
    if "'\\t'" in problem:
        return "not valid YAML: a tab; indent with spaces."
    if "single document" in (error.context or "") or "another document" in problem:
        return "more than one document; one file holds one scenario, remove the line `---`."
    if problem.startswith("more than"):
        return f"{problem}; a scenario is a short file."
    context = f" {error.context}" if error.context else ""
    return f"not valid YAML:{context} {problem}; check indentation, colons, quotes and brackets here."
