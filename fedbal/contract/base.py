"""Items of a contract and their verdicts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from fedbal.errors import UsageError

Subject = TypeVar("Subject")
Status = Literal["passed", "failed", "skipped"]


class Broken(AssertionError):
    """An item does not hold; the message says what was seen."""


class Skipped(Exception):
    """An item does not apply; the message says why."""


@dataclass(frozen=True)
class Item(Generic[Subject]):
    """One promise of the contract.

    Attributes
    ----------
    title : str
        The promise, in a few words.
    check : callable
        Returns what was seen; raises :class:`Broken` or :class:`Skipped`.
    fix : str
        What to do when it does not hold.
    """

    title: str
    check: Callable[[Subject], str]
    fix: str


@dataclass(frozen=True)
class Verdict:
    """What came of one item."""

    title: str
    status: Status
    seen: str
    fix: str = ""


def examine(items: Sequence[Item[Subject]], subject: Subject) -> list[Verdict]:
    """Check every item; an item that raises anything else has failed with that error."""
    return [_examine(item, subject) for item in items]


def _examine(item: Item[Subject], subject: Subject) -> Verdict:
    try:
        return Verdict(item.title, "passed", item.check(subject))
    except Skipped as skipped:
        return Verdict(item.title, "skipped", str(skipped))
    except Broken as broken:
        return Verdict(item.title, "failed", str(broken), item.fix)
    except Exception as error:
        return Verdict(item.title, "failed", f"{type(error).__name__}: {error}", item.fix)


def require(condition: bool, seen: str) -> None:
    """Raise :class:`Broken` with what was seen unless the condition holds."""
    if not condition:
        raise Broken(seen)


def require_close(found: Any, expected: Any, what: str, rtol: float = 1e-6) -> None:
    """Raise :class:`Broken` unless two arrays agree within ``rtol``, element by element."""
    if np.shape(found) != np.shape(expected):
        raise Broken(f"{what} has shape {np.shape(found)}, expected {np.shape(expected)}")
    distance = float(np.max(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64))))
    if not np.allclose(found, expected, rtol=rtol, atol=0.0):
        raise Broken(f"{what} is {distance:.3g} away from what it must be")


def construct(kind: type[Any], *positional: Any, **arguments: Any) -> Any:
    """Construct a component; a constructor that fails is one clear message."""
    try:
        return kind(*positional, **arguments)
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise UsageError(
            f"{kind.__name__}({given}) failed: {type(error).__name__}: {error}; give every parameter a default, or "
            f"pass it: fedbal check FILE:{kind.__name__} --set key=value."
        ) from error


def parameters_are_stored(kind: type[Any], made: Any, arguments: Mapping[str, Any], skip: int = 0) -> str:
    """Check that every constructor parameter is found unchanged under its own name.

    Parameters
    ----------
    kind : type
        The class.
    made : object
        Its instance.
    arguments : Mapping
        What it was constructed with; the rest are defaults.
    skip : int
        Positional parameters at the front that are no parameters of a scenario.
    """
    accepted = list(inspect.signature(kind).parameters.values())[skip:]
    named = [one for one in accepted if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    for one in named:
        given = arguments.get(one.name, one.default)
        require(hasattr(made, one.name), f"the parameter {one.name!r} is not kept as self.{one.name}")
        kept = getattr(made, one.name)
        same = kept is given or _equal(kept, given)
        require(same, f"{one.name}={given!r} became self.{one.name} = {kept!r}")
    names = ", ".join(one.name for one in named)
    return f"kept under its own name: {names}" if names else "it has no parameters"


def _equal(kept: Any, given: Any) -> bool:
    if isinstance(kept, np.ndarray) or isinstance(given, np.ndarray):
        return bool(np.array_equal(kept, given))
    if isinstance(kept, tuple | list) and isinstance(given, tuple | list):
        return list(kept) == list(given)
    return bool(kept == given)
