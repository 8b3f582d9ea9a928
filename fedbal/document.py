"""What has been read so far: plain values, where each of them stands, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a scenario: where it stands and what to do about it."""

    where: str
    """``file:line`` or ``--set key=value``."""
    location: Location
    message: str

    def __str__(self) -> str:
        """Render as ``where: dotted.key: message``."""
        key = dotted(self.location)
        return f"{self.where}: {key}: {self.message}" if key else f"{self.where}: {self.message}"


@dataclass(slots=True)
class Document:
    """Plain values of one YAML text, where each of them stands, and what was wrong."""

    value: Any
    marks: dict[Location, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def mark(self, location: Location) -> str:
        """Return where a key stands, or the nearest block around it that stands anywhere."""
        while location and location not in self.marks:
            location = location[:-1]
        return self.marks.get(location, "scenario")


def dotted(location: Location) -> str:
    """Write a location as people type it: ``data.partition.alpha``, ``model.hidden[1]``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # A key from a file must not control the terminal that shows it.
            shown = part if part.isprintable() else ascii(part)
            text += f".{shown}" if text else shown
    return text
