"""The JSON schema of scenarios: finished for editors, and read to say what a key allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fedbal.components import REFERENCE_TAG
from fedbal.document import Location

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TAGS = ("name", "dataset")
DEFAULT_TAGS = ("digits",)

Fragment = dict[str, Any]

SHORT_FORMS: dict[str, Fragment] = {
    "Seeds": {"type": "integer", "minimum": 0},
    "RecordUpdatesBlock": {"type": "boolean"},
}
"""Blocks that may be one value instead."""


def finish(schema: Fragment) -> Fragment:
    """Add the dialect and the short forms, and take out null, which no file may contain."""
    result: Fragment = {"$schema": DIALECT, **_walk(schema)}
    result["title"] = "fedbal scenario"
    for name, short in SHORT_FORMS.items():
        block = result["$defs"][name]
        result["$defs"][name] = {"anyOf": [short, block], "description": block.get("description", "")}
    return result


def _walk(node: Any) -> Any:
    if isinstance(node, list):
        return [_walk(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _walk(value) for key, value in node.items() if not (key == "default" and value is None)}
    if "anyOf" in node:
        node["anyOf"] = [item for item in node["anyOf"] if item != {"type": "null"}]
        if len(node["anyOf"]) == 1:
            (only,) = node.pop("anyOf")
            node = {**only, **node}
    if "oneOf" in node and "discriminator" in node:
        node = _short_form(node)
    return node


def _short_form(node: Fragment) -> Fragment:
    """Let a block that is told by its name be written as the name alone."""
    mapping = node["discriminator"]["mapping"]
    tag = node["discriminator"]["propertyName"]
    blocks = [
        {"$ref": reference} if name in DEFAULT_TAGS else {"$ref": reference, "required": [tag]}
        for name, reference in mapping.items()
    ]
    rest = {key: value for key, value in node.items() if key not in ("oneOf", "discriminator")}
    return {**rest, "anyOf": [{"type": "string", "enum": list(mapping)}, *blocks]}


class Trace:
    """Follows one location of a validation error through the schema.

    Attributes
    ----------
    location : tuple
        The keys of the file on the way, without the labels that unions put between them.
    fragments : list of dict
        What the schema says there; empty if it knows no such key.
    siblings : list of str
        Keys that the block around the last key may have.
    """

    def __init__(self, schema: Fragment, location: Location, raw: Any, *, missing: bool = False) -> None:
        self._definitions: Fragment = schema.get("$defs", {})
        self.location: Location = ()
        self.fragments: list[Fragment] = [schema]
        self.siblings: list[str] = []
        for part in location:
            options = self.options()
            tagged = [option for option in options if _tag_value(option) == part or part == REFERENCE_TAG]
            if tagged and isinstance(part, str):
                self.fragments = [option for option in tagged if option.get("type") == "object"]
                continue
            # A short form has no keys inside: what is wrong there is wrong with the short form itself.
            inside = missing or isinstance(raw, Mapping | list)
            if not inside or not self._step(part, options, raw):
                break
            raw = _item(raw, part)

    def options(self) -> list[Fragment]:
        """Return the alternatives at this place, references followed."""
        return [option for fragment in self.fragments for option in self._expand(fragment)]

    def names(self, tag: str) -> list[str]:
        """Return the names that a union at this place can be told by."""
        values = [_tag_value(option) for option in self.options() if tag in option.get("properties", {})]
        return [value for value in values if value]

    def allowed(self) -> str:
        """Say in words what is allowed here."""
        words = [describe(option) for option in self.options()]
        return " or ".join(dict.fromkeys(word for word in words if word))

    def description(self) -> str:
        """Return the description of the key."""
        return next(
            (str(fragment["description"]) for fragment in self.fragments if "description" in fragment), ""
        )

    def _step(self, part: str | int, options: list[Fragment], raw: Any) -> bool:
        if isinstance(part, int):
            found = [option["items"] for option in options if "items" in option]
        else:
            found = [option["properties"][part] for option in options if part in option.get("properties", {})]
            if not found and not (isinstance(raw, Mapping) and part in raw):
                return False
            self.siblings = list(
                dict.fromkeys(key for option in options for key in option.get("properties", {}))
            )
        self.fragments = found
        self.location = (*self.location, part)
        return True

    def _expand(self, fragment: Fragment) -> Iterator[Fragment]:
        if "$ref" in fragment:
            yield from self._expand(self._definitions[fragment["$ref"].rpartition("/")[2]])
        elif "anyOf" in fragment:
            for option in fragment["anyOf"]:
                yield from self._expand(option)
        else:
            yield fragment


def describe(fragment: Fragment) -> str:
    """Say in words what a schema fragment without references allows."""
    values = fragment.get("enum") or ([fragment["const"]] if "const" in fragment else None)
    if values:
        shown = [str(value) for value in values]
        return f"one of {', '.join(shown)}" if len(shown) > 1 else shown[0]
    kind = fragment.get("type")
    if kind in ("integer", "number"):
        noun = "an integer" if kind == "integer" else "a number"
        limits = [f"{sign} {fragment[key]:g}" for key, sign in _LIMITS if key in fragment]
        multiple = f", a multiple of {fragment['multipleOf']}" if "multipleOf" in fragment else ""
        return f"{noun}{' ' if limits else ''}{' and '.join(limits)}{multiple}"
    if kind == "array":
        items = describe(fragment.get("items", {}))
        least = f" of at least {fragment['minItems']}" if fragment.get("minItems") else ""
        return f"a list{least}{f', each {items}' if items else ''}"
    if kind == "object":
        tag = _tag_value(fragment)
        keys = ", ".join(fragment.get("properties", {}))
        return "a block with a name" if tag else f"a block with the keys {keys}"
    return {"boolean": "true or false", "string": "text"}.get(str(kind), "")


_LIMITS = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))


def _tag_value(fragment: Fragment) -> str | None:
    for tag in TAGS:
        value = fragment.get("properties", {}).get(tag, {}).get("const")
        if value is not None:
            return str(value)
    return None


def _item(raw: Any, part: str | int) -> Any:
    if isinstance(raw, Mapping) and isinstance(part, str):
        return raw.get(part)
    if isinstance(raw, list) and isinstance(part, int) and part < len(raw):
        return raw[part]
    return None
