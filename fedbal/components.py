"""A field of a scenario that chooses one component of a table: ``fedavg`` or ``{name: fedprox, mu: 1}``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from fedbal.errors import UsageError
from fedbal.params import CustomParams
from fedbal.registry import Table, is_reference, nearest, resolve_reference

REFERENCE_TAG = "your own component"


class Component(Protocol):
    """A chosen component: its name and the keyword arguments of its constructor."""

    @property
    def name(self) -> str:
        """Name in its table, or the reference to a user's own class."""
        ...

    def kwargs(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        ...

    def model_dump(self, *, mode: str = ..., exclude_none: bool = ...) -> dict[str, Any]:
        """Return name and parameters as a plain dictionary."""
        ...


class Choice:
    """Marks a field as a choice from ``table``; use as ``Annotated[Component, Choice(STRATEGIES)]``.

    Parameters
    ----------
    table : Table
        What can be chosen.
    default : str, optional
        Name that a block without ``name`` means (the field's default).
    extra : mapping of str to model, optional
        Further names that stand in no table, with their parameter models.
    custom : type of CustomParams
        Parameter model of a user's own component.
    """

    def __init__(
        self,
        table: Table,
        *,
        default: str | None = None,
        extra: Mapping[str, Any] | None = None,
        custom: type[CustomParams] = CustomParams,
    ) -> None:
        self.table = table
        self.default = default
        self.extra = dict(extra or {})
        self.custom = custom

    @property
    def names(self) -> list[str]:
        """Every name that can be chosen."""
        return [*self.extra, *self.table]

    def model(self, name: str) -> Any:
        """Return the parameter model of ``name``."""
        if is_reference(name):
            return self.custom
        return self.extra[name] if name in self.extra else self.table.params_model(name)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by the chosen name, so that errors concern the chosen component only."""
        choices: dict[Any, CoreSchema] = {
            name: handler.generate_schema(self.model(name)) for name in self.names
        }
        choices[REFERENCE_TAG] = handler.generate_schema(self.custom)
        union = core_schema.tagged_union_schema(choices, self._tag)
        return core_schema.with_info_before_validator_function(
            self._expand,
            union,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda chosen: chosen.model_dump(mode="json", exclude_none=True)
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the short form, every block of the table, and references to a user's own code."""
        blocks: list[JsonSchemaValue] = []
        for name in self.names:
            block = handler(self.model(name).__pydantic_core_schema__)
            needed = [*([] if name == self.default else ["name"]), *block.get("required", [])]
            blocks.append({**block, **({"required": needed} if needed else {})})
        reference = {
            "type": "string",
            "pattern": "[.:]",
            "description": "./file.py:Class or package.module:Class",
        }
        own = {"type": "object", "properties": {"name": reference}, "required": ["name"]}
        return {
            "anyOf": [{"type": "string", "enum": self.names}, reference, *blocks, own],
            "description": f"A {self.table.kind}: its name, or a block of its name and parameters.",
        }

    def _tag(self, value: Any) -> str | None:
        name = value["name"] if isinstance(value, Mapping) else getattr(value, "name", None)
        return REFERENCE_TAG if isinstance(name, str) and is_reference(name) else name

    def _expand(self, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        elif not isinstance(value, Mapping):
            if hasattr(value, "kwargs"):
                return value
            raise self._refuse("a name or a block with a `name` is needed")
        if "name" not in value:
            if self.default is None:
                raise self._refuse(f"the key `name` is missing; one of {', '.join(self.names)}")
            value = {"name": self.default, **value}
        name = value["name"]
        if not isinstance(name, str):
            raise self._refuse("a name must be text", inside=True)
        if is_reference(name):
            base = (info.context or {}).get("base")
            try:
                return {**value, "name": resolve_reference(name, Path(base) if base else None)}
            except (UsageError, OSError, ValueError, RuntimeError) as error:
                raise self._refuse(str(error).rstrip("."), inside=True) from error
        if name not in self.names:
            close = nearest(name, self.names)
            guess = f"did you mean {' or '.join(close)}? " if close else ""
            raise self._refuse(
                f"unknown {self.table.kind}; {guess}available: {', '.join(self.names)}, "
                "or your own as ./file.py:Class",
                inside=True,
            )
        return value

    def _refuse(self, message: str, *, inside: bool = False) -> PydanticCustomError:
        kind = "component_name" if inside else "component"
        return PydanticCustomError(kind, "{message}", {"message": message})
