"""A run as its coordinator's supervisor hands it to Flower's process and hears of it: files in the state folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from fedbal.errors import RunError
from fedbal.observer import Silent
from fedbal.results import read_rows, to_json, write_atomically
from fedbal.scenario import Scenario

JOBS = "FEDBAL_JOBS"
"""Environment variable with the folder of the jobs."""

SAID = "fedbal: "
"""What the lines begin with that a run prints for ``fedbal status``."""


@dataclass(frozen=True)
class Job:
    """What Flower's process must know beside the scenario.

    Attributes
    ----------
    key : str
        Key of the run, the same after a restart.
    out : str
        Run directory.
    clients : int
        Sites to wait for before the first round.
    wait : float
        Seconds to wait for them.
    resuming : bool
        Whether to go on from the newest checkpoint.
    models : bool
        Whether to keep the model of every round, for a comparison.
    """

    key: str
    out: str
    clients: int
    wait: float
    resuming: bool = False
    models: bool = False


class JobFolder:
    """One job's files.

    Parameters
    ----------
    path : Path
        Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, job: Job) -> None:
        """Write the job, and forget what an earlier attempt said."""
        self.path.mkdir(parents=True, exist_ok=True)
        for name in ("events.jsonl", "result.json", "pid"):
            (self.path / name).unlink(missing_ok=True)
        write_atomically(self.path / "job.json", json.dumps(asdict(job)).encode())

    def job(self) -> Job:
        """Return the job."""
        return Job(**json.loads((self.path / "job.json").read_text()))

    def model(self, number: int) -> Path:
        """Return the file of a round's model."""
        return self.path / "models" / f"round-{number:06d}.safetensors"

    def write_pid(self, pid: int) -> None:
        """Say which process runs the job."""
        write_atomically(self.path / "pid", str(pid).encode())

    def pid(self) -> int | None:
        """Return the process that runs the job, None before it has begun."""
        try:
            return int((self.path / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def finish(self, status: str, message: str = "", code: int = 0) -> None:
        """Say how the job ended: ``finished``, ``interrupted`` or ``failed``."""
        found = {"status": status, "message": message, "code": code}
        write_atomically(self.path / "result.json", json.dumps(found).encode())

    def result(self) -> dict[str, Any] | None:
        """Return how the job ended, None while it goes on."""
        try:
            found: dict[str, Any] = json.loads((self.path / "result.json").read_text())
        except FileNotFoundError:
            return None
        return found

    def events(self) -> Events:
        """Return what follows the job's events from their beginning."""
        return Events(self.path / "events.jsonl")


class EventLog(Silent):
    """Writes what happens in a job where its supervisor reads it, and prints it for ``flwr log``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.jsonl"

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Write where the run begins."""
        self._write({"event": "started", "directory": str(directory), "first_round": first_round})

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Write a round's row."""
        self._write({"event": "round", "row": row})

    def note(self, message: str) -> None:
        """Write a note."""
        self._write({"event": "note", "text": message})

    def _write(self, event: Mapping[str, Any]) -> None:
        line = to_json({"time": time.time(), **event})
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
        print(f"{SAID}{line}", flush=True)


class Events:
    """Follows a growing file of events.

    Parameters
    ----------
    path : Path
        The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Iterate over the events that were not returned yet."""
        rows = list(read_rows(self._path))
        fresh, self._read = rows[self._read :], len(rows)
        yield from fresh


@dataclass(frozen=True)
class Book:
    """What a coordinator's state folder remembers of its run.

    Attributes
    ----------
    key : str
        Key of the run.
    identity : str
        Hash of its scenario.
    out : str
        Its run directory.
    """

    key: str
    identity: str
    out: str

    def write(self, folder: Path) -> None:
        """Keep it in a state folder."""
        write_atomically(folder / "run.json", json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return what a state folder remembers, None if nothing.

        Raises
        ------
        RunError
            The file is damaged.
        """
        path = folder / "run.json"
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise RunError(f"{path} is damaged ({error}); choose another --state.") from error
