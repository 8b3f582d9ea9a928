"""Where a parameter is searched when a rule is tuned, declared beside the parameter itself.

    mu: Annotated[NonNegative, Range(0.001, 10.0, log=True)] = Field(1.0, description=...)

A user's own class declares a mapping ``search_space`` of constructor arguments instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

DIGITS = 3
"""Significant digits of a proposed number: enough for a knob, and short on a command line."""


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included.

    Parameters
    ----------
    low, high : float
        Ends, low below high; with ``log`` both above 0.
    log : bool
        Whether equal factors count as equal distances.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (self.low < self.high and (self.low > 0 or not self.log)):
            raise ValueError(f"{self} is no range: low must be below high, and above 0 if it is log")

    def at(self, share: float) -> float:
        """Return the number at ``share`` in [0, 1] of the way from low to high."""
        if self.log:
            value = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def share(self, value: Any) -> float | None:
        """Return how far a number is on the way from low to high, in [0, 1]; None for what is no number."""
        if not _are_numbers((value,)):
            return None
        inside = min(max(float(value), self.low), self.high)
        if self.log:
            return math.log(inside / self.low) / math.log(self.high / self.low)
        return (inside - self.low) / (self.high - self.low)

    def including(self, value: Any) -> Range:
        """Return the range widened to a number beyond it."""
        if self.share(value) is None or (self.log and value <= 0):
            return self
        return Range(min(self.low, value), max(self.high, value), self.log)

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class OneOf:
    """Some values, numbers in ascending order.

    Parameters
    ----------
    values : tuple
        At least two.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) < 2 or len(set(self.values)) < len(self.values):
            raise ValueError(f"{self.values} is no choice: give two or more different values")

    def at(self, share: float) -> Any:
        """Return the value at ``share`` in [0, 1]; each has an equal part of it."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def share(self, value: Any) -> float | None:
        """Return the position of a value, 0 for the first and 1 for the last; None for another one."""
        if value not in self.values:
            return None
        return self.values.index(value) / (len(self.values) - 1)

    def including(self, value: Any) -> OneOf:
        """Return the choice with one more value."""
        if value is None or value in self.values:
            return self
        more = (*self.values, value)
        return OneOf(tuple(sorted(more)) if _are_numbers(more) else more)

    @property
    def ends(self) -> tuple[Any, Any]:
        """First and last value; None where values have no order."""
        return (self.values[0], self.values[-1]) if _are_numbers(self.values) else (None, None)

    def __str__(self) -> str:
        return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in self.values)


Space = Range | OneOf


def _are_numbers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
