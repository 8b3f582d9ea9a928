"""From repeats to medians, and from medians to verdicts; everything is computed from the JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.speed.rows import (
    AUTO,
    COMPILED,
    FLOWER,
    HAND,
    LOOP,
    LOOP_2,
    ONE_BY_ONE,
    PFL,
    SWEEP,
    VECTORIZED,
    VECTORIZED_2,
    VECTORIZED_RAY,
    Row,
)

Content = Mapping[str, Any]
Value = float | None


@dataclass(frozen=True)
class Line:
    """One row of a table: medians over its repeats, None where nothing was measured.

    Attributes
    ----------
    name : str
        Row.
    workers : int
        Processes or threads that compute.
    value : float or None
        Milliseconds a client update, or seconds in all.
    low, high : float or None
        Smallest and largest repeat.
    start : float or None
        Seconds to the end of the first round.
    memory, gpu_memory : float or None
        Peak bytes.
    accuracy : float or None
        On the test rows.
    same : bool
        Whether the accuracy is that of the case's reference.
    note : str
        Why there is no figure, or what was chosen.
    """

    name: str
    workers: int
    value: Value = None
    low: Value = None
    high: Value = None
    start: Value = None
    memory: Value = None
    gpu_memory: Value = None
    accuracy: Value = None
    same: bool = True
    note: str = ""


def lines(case: Content) -> list[Line]:
    """Return the rows of a case in order."""
    found = [_line(name, row, case) for name, row in case["rows"].items()]
    reference = next((line.accuracy for line in found if line.name == HAND.name), None)
    if reference is None:
        reference = next((line.accuracy for line in found if line.accuracy is not None), None)
    if reference is None:
        return found
    close = [line.accuracy is None or abs(line.accuracy - reference) <= case["tolerance"] for line in found]
    return [Line(**{**vars(line), "same": same}) for line, same in zip(found, close, strict=True)]


def _line(name: str, row: Content, case: Content) -> Line:
    good = [run for run in row["runs"] if run["error"] is None]
    workers = int(row["workers"])
    if not good:
        errors = [run["error"] for run in row["runs"]]
        return Line(name, workers, note=row["skipped"] or (f"failed: {errors[0]}" if errors else "not run"))
    if case["unit"] == "total":
        values = [run["seconds"] * row["scale"] for run in good]
    else:
        values = [run["round"] / case["cohort"] * 1e3 for run in good if run["round"] is not None]
    failed = len(row["runs"]) - len(good)
    notes = [row["choice"], f"{failed} of {len(row['runs'])} repeats failed" if failed else ""]
    value, low, high = (median(values), min(values), max(values)) if values else (None, None, None)
    start, memory, gpu, accuracy = (
        _median(good, key) for key in ("start", "memory", "gpu_memory", "accuracy")
    )
    note = "; ".join(filter(None, notes))
    return Line(name, workers, value, low, high, start, memory, gpu, accuracy, note=note)


def _median(runs: list[Content], key: str) -> Value:
    values = [run[key] for run in runs if run[key] is not None]
    return median(values) if values else None


class Numbers:
    """Looks up medians across the cases of a result.

    Parameters
    ----------
    content : Mapping
        What the benchmark wrote.
    """

    def __init__(self, content: Content) -> None:
        self._lines = {
            name: {line.name: line for line in lines(case)} for name, case in content["cases"].items()
        }
        self._content = content

    def line(self, case: str, row: Row) -> Line:
        """Return a row, an empty one if it was not run."""
        return self._lines.get(case, {}).get(row.name, Line(row.name, row.workers))

    def best(self, case: str, *rows: Row) -> Value:
        """Return the smallest figure of several rows."""
        values = [value for row in rows if (value := self.line(case, row).value) is not None]
        return min(values) if values else None

    def clients(self, case: str) -> int:
        """Return the population of a case."""
        return int(self._content["cases"][case]["clients"])


def ratio(above: Value, below: Value) -> Value:
    """Return a quotient, None if a side is missing."""
    return None if above is None or not below else above / below


@dataclass(frozen=True)
class Target:
    """What a case should reach.

    Attributes
    ----------
    case, text : str
        Where, and what.
    limit : float
        The figure.
    at_least : bool
        Whether the value must not be below it, else not above.
    value : callable
        Numbers to the value; None if a side was not measured.
    """

    case: str
    text: str
    limit: float
    at_least: bool
    value: Callable[[Numbers], Value]

    def verdict(self, numbers: Numbers, equal: bool) -> dict[str, Any]:
        """Return case, text, limit, value and whether it is met; a case of unequal accuracies meets nothing."""
        value = self.value(numbers)
        met = None
        if value is not None:
            met = equal and (value >= self.limit if self.at_least else value <= self.limit)
        sign = ">=" if self.at_least else "<="
        return {
            "case": self.case,
            "text": self.text,
            "limit": f"{sign} {self.limit:g}",
            "value": value,
            "met": met,
        }


_EAGER, _COMPILED = (VECTORIZED, VECTORIZED_2, VECTORIZED_RAY), (COMPILED,)


def _against(case: str, other: Row, *rows: Row) -> Callable[[Numbers], Value]:
    return lambda numbers: ratio(numbers.line(case, other).value, numbers.best(case, *rows))


def _value(case: str, *rows: Row) -> Callable[[Numbers], Value]:
    return lambda numbers: numbers.best(case, *rows)


def _grown(case: str) -> Callable[[Numbers], Value]:
    """Round time against 1 000 clients, by the same row."""

    def value(numbers: Numbers) -> Value:
        for row in (VECTORIZED, LOOP):
            found = ratio(numbers.line(case, row).value, numbers.line("small", row).value)
            if found is not None:
                return found
        return None

    return value


def _idle_bytes(numbers: Numbers) -> Value:
    """Bytes of a client beyond its index list, between 100 000 and 1 000 000 clients over the same pool."""
    few, many = "population-100k", "population-1m"
    for row in (VECTORIZED, LOOP):
        less, more = numbers.line(few, row).memory, numbers.line(many, row).memory
        if less is not None and more is not None:
            clients = numbers.clients(many) - numbers.clients(few)
            return (more - less) / clients - 8 * (100 + 1)
    return None


TARGETS = (
    Target("small", "ms a client update, vectorized", 0.20, False, _value("small", *_EAGER)),
    Target("small", "ms a client update, compiled", 0.10, False, _value("small", *_COMPILED)),
    Target("small", "times Flower's engine, vectorized", 30, True, _against("small", FLOWER, *_EAGER)),
    Target("small", "times Flower's engine, compiled", 60, True, _against("small", FLOWER, *_COMPILED)),
    Target("small", "times pfl on one core, vectorized", 4, True, _against("small", PFL, VECTORIZED)),
    Target(
        "small", "times the hand loop on one core, vectorized", 2, True, _against("small", HAND, VECTORIZED)
    ),
    Target("small", "times pfl on one core, compiled", 8, True, _against("small", PFL, COMPILED)),
    Target("small", "times the hand loop on one core, compiled", 4, True, _against("small", HAND, COMPILED)),
    *(
        Target(
            f"population-{name}",
            "round time against 1 000 clients",
            1.15,
            False,
            _grown(f"population-{name}"),
        )
        for name in ("10k", "100k", "1m")
    ),
    Target("population-1m", "bytes an idle client beyond its index list", 200, False, _idle_bytes),
    Target("fedprox", "times Flower's engine", 3, True, _against("fedprox", FLOWER, AUTO)),
    Target(
        *("fedprox", "times the best loop", 1, True),
        lambda numbers: ratio(numbers.best("fedprox", LOOP, HAND), numbers.best("fedprox", AUTO)),
    ),
    Target("cnn", "times the hand loop on one core", 0.95, True, _against("cnn", HAND, LOOP)),
    Target("cnn", "times one core on two", 1.9, True, _against("cnn", LOOP, LOOP_2)),
    Target("cnn", "times Flower's engine", 1, True, _against("cnn", FLOWER, LOOP, LOOP_2)),
    Target(
        *("skew", "share of the perfect split", 0.9, True),
        lambda numbers: ratio(
            numbers.line("skew", LOOP).value, 2 * (numbers.line("skew", LOOP_2).value or 0)
        ),
    ),
    Target(
        *("startup", "seconds in process", 4, False),
        lambda numbers: numbers.line("startup", VECTORIZED).start or numbers.line("startup", LOOP).start,
    ),
    Target(
        *("startup", "seconds on Ray", 7, False),
        lambda numbers: numbers.line("startup", VECTORIZED_RAY).start,
    ),
    Target("sweep", "times one by one", 5, True, _against("sweep", ONE_BY_ONE, SWEEP)),
)


def verdicts(content: Content, targets: Sequence[Target] = TARGETS) -> list[dict[str, Any]]:
    """Return the verdict of every target of the cases that were run."""
    numbers = Numbers(content)
    equal = {name: all(line.same for line in lines(case)) for name, case in content["cases"].items()}
    return [target.verdict(numbers, equal[target.case]) for target in targets if target.case in equal]
