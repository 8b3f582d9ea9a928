"""The base of every parameter model: immutable, strict, no unknown keys."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from fedbal.measures.names import EVERY_TASK, TaskName


class Params(BaseModel):
    """Declared parameters of one component (a rule, an update, a partition, a model, ...).

    A component's model declares ``name`` (a data source: ``dataset``) as a ``Literal`` with the name under
    which scenarios choose it; every other field is a keyword argument of the component's constructor.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    def kwargs(self) -> dict[str, Any]:
        """Return the constructor arguments: every field except the name."""
        return {key: value for key, value in self if key not in ("name", "dataset")}

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks that the component can be used on; here every one."""
        return EVERY_TASK


class CustomParams(BaseModel):
    """Parameters of a user's own component: a reference and whatever its constructor takes."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    name: str
    """``./file.py:Class`` or ``package.module:Class``."""

    def kwargs(self) -> dict[str, Any]:
        """Return the constructor arguments: every field except the name."""
        return dict(self.model_extra or {})
