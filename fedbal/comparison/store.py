"""A comparison's directory: the plan, the runs by content address, and why some of them failed."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedbal.comparison.address import by_content
from fedbal.comparison.base import Base
from fedbal.comparison.block import CompareBlock
from fedbal.comparison.compared import COMPARISON, Compared
from fedbal.comparison.declaration import Changes, Declaration
from fedbal.comparison.engines import Engines
from fedbal.comparison.plan import RUNS, Cell, Plan
from fedbal.comparison.records import Protocol
from fedbal.errors import FedbalError, RunError, UsageError
from fedbal.results import SCENARIO, SUMMARY, RunReader, disk_errors, read_json, to_json, write_atomically
from fedbal.scenario import from_mapping, load

PLAN = "plan.json"
FAILURES = "failures.json"
EARLIER = "earlier"
LOCK = ".lock"
VERSION = 1
OUTPUTS = (COMPARISON, "report.html", "results.csv", "outcomes.csv", "table.md", "table.tex", "figures")
"""What a verdict leaves beside the runs."""


@dataclass(frozen=True)
class Kept:
    """What a directory knows of its comparison.

    Attributes
    ----------
    declaration : Declaration
        What was declared.
    tuned : mapping
        Changes that tuning found, by method.
    engines : Engines
        How clients are trained.
    shard : str
        Which share of the runs it is for, as ``3/20``; empty: all.
    tuning : mapping or None
        What tuning found.
    identity : str
        Of the comparison when it was written down, see :func:`identity`.
    """

    declaration: Declaration
    tuned: Mapping[str, Changes]
    engines: Engines
    shard: str = ""
    tuning: Mapping[str, Any] | None = None
    identity: str = ""


class Store:
    """The directory of a comparison.

    Parameters
    ----------
    path : Path
        Made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; --out must name a directory.")
        if (path / SCENARIO).exists():
            raise UsageError(f"{path} holds a run, not a comparison; choose another --out.")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other comparisons out of the directory meanwhile."""
        with disk_errors(self.path):
            (self.path / RUNS).mkdir(parents=True, exist_ok=True)
            handle = (self.path / LOCK).open("ab")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another comparison is running in {self.path}; wait for it, or choose another --out."
                ) from None
            yield

    def kept(self) -> Kept | None:
        """Return what is known of the comparison; None for a new directory.

        Raises
        ------
        RunError
            ``plan.json`` is damaged, or of another version.
        """
        content = self.read_json(PLAN)
        if content is None:
            return None
        path = self.path / PLAN
        try:
            if content["version"] != VERSION:
                raise RunError(
                    f"{path} has version {content['version']}; this fedbal reads version {VERSION}."
                )
            rest = content["declaration"]
            protocol = TypeAdapter(Protocol).validate_python(rest["protocol"])
            scenario = from_mapping(content["scenario"])
            base = Base(
                *(content["scenario"], scenario, CompareBlock(), content["source"]),
                changes=tuple(content["changes"]),
            )
            return Kept(
                Declaration(
                    base=base,
                    protocol=protocol,
                    variations={label: tuple(changes) for label, changes in rest["variations"].items()},
                    seconds=rest["seconds"],
                    workers=rest["workers"],
                    tune=rest["tune"],
                    notes=tuple(rest["notes"]),
                    vary=rest["vary"],
                ),
                {label: tuple(changes) for label, changes in content["tuned"].items()},
                Engines(**content["engines"]),
                content["shard"],
                content["tuning"],
                content["identity"],
            )
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise RunError(f"{path} is damaged: {error}.") from error

    def keep(self, plan: Plan, shard: str = "", tuning: Mapping[str, Any] | None = None) -> None:
        """Write what is known of the comparison, before anything runs."""
        self.write_json(PLAN, to_mapping(plan, shard, tuning))

    def failures(self) -> dict[str, str]:
        """Return why runs failed, by address."""
        return {str(key): str(value) for key, value in (self.read_json(FAILURES) or {}).items()}

    def write_failures(self, failures: Mapping[str, str]) -> None:
        """Write why runs failed."""
        self.write_json(FAILURES, dict(failures))

    def verdict(self) -> Compared | None:
        """Return the last verdict about the comparison of the plan; of another one it was set aside."""
        if not (self.path / COMPARISON).exists():
            return None
        try:
            return Compared.read(self.path)
        except FedbalError:
            return None

    def set_aside(self, declaration: Declaration) -> Path | None:
        """Move the verdict of another comparison out of the way; return where it lies now."""
        kept = self.kept()
        if not (self.path / COMPARISON).exists() or (
            kept is not None and kept.identity == identity(declaration)
        ):
            return None
        number = next(n for n in range(1, 10**6) if not (self.path / EARLIER / str(n)).exists())
        folder = self.path / EARLIER / str(number)
        found = self.verdict()
        with disk_errors(folder):
            folder.mkdir(parents=True)
            for name in OUTPUTS:
                if (self.path / name).exists():
                    (self.path / name).rename(folder / name)
        if found is not None:
            # Its runs stay where they are, so it names them by absolute paths.
            absolute = tuple(
                replace(one, directory=None if one.directory is None else one.directory.absolute())
                for one in found.records
            )
            replace(found, directory=folder, records=absolute).write()
        return folder

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a file whole or not at all."""
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / name, (to_json(content) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return what a file holds; None if there is none."""
        return read_json(self.path / name)


def to_mapping(plan: Plan, shard: str, tuning: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a plan as plain values."""
    declared = plan.declaration
    return {
        "version": VERSION,
        "source": declared.base.source,
        "changes": list(declared.base.changes),
        "scenario": dict(declared.base.raw),
        "declaration": {
            "protocol": TypeAdapter(Protocol).dump_python(declared.protocol, mode="json"),
            "variations": {label: list(changes) for label, changes in declared.variations.items()},
            "seconds": declared.seconds,
            "workers": declared.workers,
            "tune": declared.tune,
            "notes": list(declared.notes),
            "vary": dict(declared.vary),
        },
        "tuned": {label: list(changes) for label, changes in plan.tuned.items()},
        "tuning": None if tuning is None else dict(tuning),
        "engines": asdict(plan.engines),
        "shard": shard,
        "identity": identity(declared),
        "runs": {cell.address: [cell.dataset, cell.method, cell.seed] for cell in plan.cells},
    }


def identity(declaration: Declaration) -> str:
    """Return a hash of what makes a comparison the same when seeds are added.

    Scenario, rules with the text of a user's own files, data sets, primary outcome, margin, alpha and budget.
    """
    content = TypeAdapter(Protocol).dump_python(declaration.protocol, mode="json")
    for key in ("seeds", "planned_seeds", "looks", "name", "target"):
        content.pop(key)
    # Reference rows are in no test.
    content["methods"] = [
        declaration.scenario(dataset, method).resolved()
        for dataset in declaration.protocol.datasets
        for method in declaration.rivals
    ]
    content["labels"] = [method.label for method in declaration.rivals]
    for scenario in content["methods"]:
        for key in ("name", "runtime", "track"):
            scenario.pop(key, None)
    text = json.dumps([by_content(content), declaration.tune], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_done(cell: Cell) -> bool:
    """Tell whether a run came to its end."""
    return (cell.directory / SUMMARY).is_file()


def as_begun(cell: Cell) -> Cell:
    """Return a cell with the scenario that its directory was begun with, which may have another name."""
    if not (cell.directory / SCENARIO).is_file():
        return cell
    try:
        return replace(cell, scenario=load(cell.directory / SCENARIO))
    except FedbalError:
        return cell


def seconds_of(cell: Cell) -> float | None:
    """Return the wall time of a run that is done."""
    try:
        summary = RunReader(cell.directory).summary()
    except FedbalError:
        return None
    return None if summary is None else float(summary["seconds"]["total"])
