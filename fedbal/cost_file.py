"""A machine's own table of costs: the rows of :mod:`fedbal.costs` in a file, known by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedbal.costs import COSTS, Cost, Layers
from fedbal.errors import UsageError
from fedbal.yaml_dump import dump
from fedbal.yaml_source import parse

HASH = "sha256:"
"""What stands for a file in the scenario of a run, whose engine it has chosen already."""
Number = Annotated[int, Field(ge=1, strict=True)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    device: Literal["cpu", "cuda"]
    layers: Annotated[list[Layers], Field(min_length=1)]
    parameters: Number
    chunk: Number
    fewest: Number


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    costs: Annotated[list[_Row], Field(min_length=1)]


def read_costs(given: str) -> tuple[Cost, ...]:
    """Return the rows of a file, and fedbal's own of devices that it has none of.

    Parameters
    ----------
    given : str
        Path, or ``sha256:`` and a hash: a file that is not needed any more, no rows.

    Raises
    ------
    UsageError
        The file is missing, or no table of costs.
    """
    if given.startswith(HASH):
        return ()
    try:
        document = parse(_bytes(given).decode("utf-8"), given)
        rows = _File.model_validate(document.value).costs
    except UnicodeDecodeError as error:
        raise UsageError(f"runtime.costs: {given} is not UTF-8 text.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(
            f"runtime.costs: {given}: {where}: {first['msg']}; a table of costs is what `fedbal calibrate` writes."
        ) from error
    own = tuple(Cost(row.device, tuple(row.layers), row.parameters, row.chunk, row.fewest) for row in rows)
    devices = {row.device for row in own}
    return (*own, *(row for row in COSTS if row.device not in devices))


def digest(given: str) -> str:
    """Return ``sha256:`` and the hash of a file; of what is a hash already, itself."""
    if given.startswith(HASH):
        return given
    return HASH + hashlib.sha256(_bytes(given)).hexdigest()


def _bytes(given: str) -> bytes:
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise UsageError(
            f"runtime.costs: {given} cannot be read ({error.strerror or error}); write one with "
            f"`fedbal calibrate --out {given}`."
        ) from error


def render(rows: Sequence[Cost], comments: Sequence[str] = ()) -> str:
    """Write rows as the text of a file, under comments."""
    plain = [{**asdict(row), "layers": list(row.layers)} for row in rows]
    return "".join(f"# {line}\n" for line in comments) + dump({"costs": plain})
