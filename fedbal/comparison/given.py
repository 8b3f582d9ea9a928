"""Results that somebody wrote down: a CSV file with the columns method, dataset, seed, metric, value."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedbal.errors import UsageError

NEEDED = ("method", "seed", "value")
OPTIONAL = ("dataset", "metric", "round", "status")
SHARE = 0.1
"""Last share of the rounds that is averaged where a file has a row for each round."""

Outcomes = Mapping[str, Mapping[str, Mapping[int, float]]]
Run = tuple[str, str, int]
Place = tuple[str, str, str, int]


@dataclass(frozen=True)
class Given:
    """What a file holds.

    Attributes
    ----------
    metrics : mapping
        Values by metric, then data set, method and seed.
    methods : tuple of str
        In order of appearance.
    diverged : frozenset
        Data set, method and seed of runs that diverged.
    notes : tuple of str
        What was done to the rows, each a sentence.
    """

    metrics: Mapping[str, Outcomes]
    methods: tuple[str, ...]
    diverged: frozenset[Run] = frozenset()
    notes: tuple[str, ...] = ()

    def outcomes(self, metric: str, chance: float | None = None) -> Outcomes:
        """Return the values of a metric with diverged runs at chance level.

        Parameters
        ----------
        metric : str
            One of ``metrics``.
        chance : float, optional
            What a diverged run counts as; None: it is left out.
        """
        return {
            dataset: {
                method: {
                    seed: value if (dataset, method, seed) not in self.diverged or chance is None else chance
                    for seed, value in own.items()
                    if chance is not None or (dataset, method, seed) not in self.diverged
                }
                for method, own in found.items()
            }
            for dataset, found in self.metrics[metric].items()
        }


def read(path: Path) -> Given:
    """Read a file of results.

    Where it has a column ``round``, a run counts with the mean over the last tenth of its rounds. Where it has
    ``status``, runs that failed or are open are left out.

    Parameters
    ----------
    path : Path
        The file; columns parted by commas, semicolons or tabs.

    Raises
    ------
    UsageError
        The file cannot be read as such; with line, column and what is expected.
    """
    rounds: dict[Place, dict[int, tuple[float, int]]] = {}
    methods: dict[str, None] = {}
    diverged: set[Run] = set()
    left_out: set[Run] = set()
    by_round = False
    for line, row in _rows(path):
        by_round = "round" in row
        place, status = _place(row, path, line), row.get("status", "")
        methods[place[2]] = None
        if status in ("failed", "open"):
            left_out.add(place[1:])
            continue
        if status == "diverged":
            diverged.add(place[1:])
        when = _whole(row["round"], "round", path, line) if by_round else 0
        own = rounds.setdefault(place, {})
        if when in own:
            raise UsageError(_twice(path, own[when][1], line, place, by_round))
        own[when] = (_number(row["value"], path, line), line)
    if not methods:
        raise UsageError(f"{path} has no rows; expected are columns method, seed, value and one row a run.")
    metrics: dict[str, dict[str, dict[str, dict[int, float]]]] = {}
    for place, own in rounds.items():
        metric, dataset, method, seed = place
        metrics.setdefault(metric, {}).setdefault(dataset, {}).setdefault(method, {})[seed] = _late_mean(own)
    notes = []
    if by_round:
        notes.append("The file has a row for each round: a run counts with the mean over its last tenth.")
    if left_out:
        notes.append(f"{len(left_out)} runs that failed or are open are left out.")
    return Given(metrics, tuple(methods), frozenset(diverged), tuple(notes))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells by column, stripped; columns in small letters."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=first.count))
            header = [name.strip().lower() for name in next(reader, [])]
            _check_header(header, path)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise UsageError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells under {len(header)} columns."
                    )
                yield (
                    reader.line_num,
                    {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name},
                )
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8; save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file: {error}.") from error


def _check_header(header: list[str], path: Path) -> None:
    if not any(header):
        raise UsageError(f"{path} is empty; expected are columns method, seed, value and one row a run.")
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise UsageError(
            f"{path} has no column {' and no column '.join(missing)}; its first line has: {', '.join(header)}. "
            f"Needed are {', '.join(NEEDED)}; {', '.join(OPTIONAL)} may be there."
        )
    twice = [name for name in (*NEEDED, *OPTIONAL) if header.count(name) > 1]
    if twice:
        raise UsageError(f"{path} has the column {twice[0]} twice.")


def _place(row: Mapping[str, str], path: Path, line: int) -> Place:
    if not row["method"]:
        raise UsageError(f"{path}, line {line}: the method is empty.")
    seed = _whole(row["seed"], "seed", path, line)
    return row.get("metric", ""), row.get("dataset", ""), row["method"], seed


def _whole(text: str, what: str, path: Path, line: int) -> int:
    try:
        value = float(text)
        if value != int(value):
            raise ValueError
    except (ValueError, OverflowError):
        raise UsageError(
            f"{path}, line {line}: {what} is {text!r}; it must be a whole number, such as 3."
        ) from None
    return int(value)


def _number(text: str, path: Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(
            f"{path}, line {line}: value is {text!r}; it must be a finite number. Leave a run without one out."
        )
    return value


def _twice(path: Path, first: int, second: int, place: Place, by_round: bool) -> str:
    metric, dataset, method, seed = place
    what = [f"method {method}", f"seed {seed}"]
    what += [f"dataset {dataset}"] if dataset else []
    what += [f"metric {metric}"] if metric else []
    hint = "" if by_round else "; if these are rounds of one run, number them in a column round"
    return f"{path}: lines {first} and {second} are both {', '.join(what)}; keep one row a run{hint}."


def _late_mean(own: Mapping[int, tuple[float, int]]) -> float:
    from fedbal.comparison.windows import first_round

    last = max(own)
    first = first_round(last, SHARE) if last else 0
    late = [value for when, (value, _) in own.items() if when >= first]
    return math.fsum(late) / len(late)
