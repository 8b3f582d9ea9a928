"""A whole comparison as it was found: what was declared, every run, the pairing and the verdicts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from fedbal.comparison.records import Protocol, RunRecord
from fedbal.comparison.statistics.results import Analysis
from fedbal.errors import RunError, UsageError
from fedbal.results import disk_errors, to_json, write_atomically

if TYPE_CHECKING:
    from fedbal.comparison.pairing import Pairing

COMPARISON = "comparison.json"
VERSION = 1


@dataclass(frozen=True)
class Compared:
    """What tables, figures and the report are made of.

    Attributes
    ----------
    protocol : Protocol
        What was declared.
    records : tuple of RunRecord
        Every run: data set by data set, seed by seed, methods as declared.
    pairing : Pairing
        What the runs of a seed share, found from their fingerprints.
    analysis : Analysis
        The verdicts.
    scenario : mapping
        The base scenario with every default filled in.
    directory : Path
        The comparison's directory; the runs lie under ``runs/`` in it.
    source : str
        The scenario as it was named on the command line: a shipped name or a file.
    command : str
        A command that makes the same comparison again.
    tuning : mapping, optional
        What tuning did, as ``tuning.json`` keeps it; None if nothing was tuned.
    notes : tuple of str
        What a reader must know, each a sentence: defaults that were chosen, a time limit that ended it.
    """

    protocol: Protocol
    records: tuple[RunRecord, ...]
    pairing: Pairing
    analysis: Analysis
    scenario: Mapping[str, Any]
    directory: Path
    source: str = ""
    command: str = ""
    tuning: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = field(default=())

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values that JSON can hold; run directories as paths from the comparison's."""
        records = [_relative(record, self.directory) for record in self.records]
        return {
            "version": VERSION,
            "source": self.source,
            "command": self.command,
            "protocol": _plain(Protocol, self.protocol),
            "analysis": _plain(Analysis, self.analysis),
            "pairing": _plain(type(self.pairing), self.pairing),
            "records": _plain(tuple[RunRecord, ...], tuple(records)),
            "scenario": dict(self.scenario),
            "tuning": None if self.tuning is None else dict(self.tuning),
            "notes": list(self.notes),
        }

    def write(self) -> Path:
        """Write ``comparison.json`` and return its path."""
        path = self.directory / COMPARISON
        with disk_errors(path):
            self.directory.mkdir(parents=True, exist_ok=True)
            write_atomically(path, (to_json(self.to_mapping()) + "\n").encode())
        return path

    @classmethod
    def read(cls, directory: str | Path) -> Compared:
        """Read ``comparison.json`` of a directory.

        Raises
        ------
        UsageError
            There is none.
        RunError
            It is damaged, or of another version of fedbal.
        """
        from fedbal.comparison.pairing import Pairing

        folder = Path(directory)
        path = folder / COMPARISON
        if not path.is_file():
            raise UsageError(f"{folder} holds no finished comparison (no {COMPARISON} in it).")
        try:
            content = json.loads(path.read_text())
            if content["version"] != VERSION:
                raise RunError(
                    f"{path} has version {content['version']}; this fedbal reads version {VERSION}."
                )
            records = TypeAdapter(tuple[RunRecord, ...]).validate_python(content["records"])
            return cls(
                protocol=TypeAdapter(Protocol).validate_python(content["protocol"]),
                records=tuple(_absolute(record, folder) for record in records),
                pairing=TypeAdapter(Pairing).validate_python(content["pairing"]),
                analysis=TypeAdapter(Analysis).validate_python(content["analysis"]),
                scenario=content["scenario"],
                directory=folder,
                source=content["source"],
                command=content["command"],
                tuning=content["tuning"],
                notes=tuple(content["notes"]),
            )
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise RunError(f"{path} is damaged: {error}.") from error


def _plain(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).dump_python(value, mode="json")


def _relative(record: RunRecord, folder: Path) -> RunRecord:
    path = record.directory
    if path is None or not path.absolute().is_relative_to(folder.absolute()):
        return record
    return replace(record, directory=path.absolute().relative_to(folder.absolute()))


def _absolute(record: RunRecord, folder: Path) -> RunRecord:
    return record if record.directory is None else replace(record, directory=folder / record.directory)
