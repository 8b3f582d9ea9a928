"""The coordinator's supervisor: SuperLink, keys, the run, and going on after anything that stops it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedbal.deployment import guard, superlink
from fedbal.deployment.bundle import SCENARIO, identity, write_bundle
from fedbal.deployment.job import Book, Job, JobFolder
from fedbal.deployment.processes import Child, ended
from fedbal.deployment.superlink import Connection, Listening, last_lines
from fedbal.errors import FedbalError, RunError, UsageError
from fedbal.interrupts import Interrupted, Signals, StopRequested
from fedbal.observer import Observer
from fedbal.results import SCENARIO as RUN_SCENARIO
from fedbal.results import SITES, RunReader
from fedbal.scenario import Scenario, one_by_one

POLL = 0.2
CHECKPOINT_GRACE = 60.0
"""Seconds that a run may take to write its checkpoint when it is stopped."""
ATTEMPTS = 5
"""Times that a run is begun again after Flower's processes died, without a further round."""
BEGIN = 90.0
"""Seconds until Flower must have started the process of a run."""


class Lost(RunError):
    """Flower's processes ended under a run; it can go on in new ones."""


@dataclass(frozen=True)
class Wanted:
    """What a coordinator is to run.

    Attributes
    ----------
    clients : int
        Sites to wait for.
    wait : float
        Seconds to wait for them.
    out : Path
        Run directory.
    key : str
        Key of the run.
    models : bool
        Whether to keep the model of every round, for a comparison.
    """

    clients: int
    wait: float
    out: Path
    key: str
    models: bool = False


class Coordinator:
    """A SuperLink with the keys of its sites, on which runs are submitted one after the other.

    Parameters
    ----------
    listening : Listening
        Where it listens, and its certificates.
    state : Path
        Folder for everything that outlives the process.
    """

    def __init__(self, listening: Listening, state: Path) -> None:
        self._listening = listening
        self.state = state
        self._child: Child | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def connection(self) -> Connection:
        """How to reach the SuperLink."""
        assert self._connection is not None
        return self._connection

    def start(self) -> None:
        """Start the SuperLink and register the keys of the sites."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._child, self._connection = superlink.start(self._listening, self.state)
        try:
            self.connection.register(self._new_keys())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the SuperLink and its helpers."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    def run(self, scenario: Scenario, wanted: Wanted, observer: Observer, signals: Signals) -> dict[str, Any]:
        """Run a scenario on the connected sites, from its newest checkpoint if there is one; returns the summary.

        Raises
        ------
        RunError
            It failed.
        Lost
            Flower's processes ended; it can go on.
        Interrupted
            On Ctrl-C or SIGTERM, after a checkpoint.
        """
        resuming = (wanted.out / RUN_SCENARIO).is_file()
        if not resuming:
            (wanted.out / SITES).unlink(missing_ok=True)
        folder = JobFolder(self.state / "jobs" / wanted.key)
        job = Job(wanted.key, str(wanted.out.resolve()), wanted.clients, wanted.wait, resuming, wanted.models)
        if _runs_rounds(folder.pid()):
            # Of a coordinator that was killed: it holds the run directory, and would write into this job's files.
            self._end(folder)
        folder.begin(job)
        bundle = folder.path / "app"
        shutil.rmtree(bundle, ignore_errors=True)
        write_bundle(scenario, bundle)
        (folder.path / SCENARIO).write_text(scenario.to_yaml(), encoding="utf-8")
        run = self.connection.submit(bundle, wanted.key)
        try:
            self._follow(folder, run, scenario, observer, signals)
        except StopRequested as stop:
            self._end(folder)
            reader = RunReader(wanted.out) if (wanted.out / RUN_SCENARIO).is_file() else None
            done = len(reader.rounds()) if reader else 0
            raise Interrupted(
                f"{stop} after round {done} of {scenario.rounds}; go on with the same command and --state "
                f"{self.state}.",
                stop.number,
            ) from None
        except BaseException:
            self._end(folder)
            raise
        summary = RunReader(wanted.out).summary()
        assert summary is not None
        return summary

    def _follow(
        self, folder: JobFolder, run: str, scenario: Scenario, observer: Observer, signals: Signals
    ) -> None:
        """Pass on what the run says until it ends."""
        events = folder.events()
        begin = time.monotonic() + BEGIN
        while True:
            signals.check()
            result = folder.result()
            for event in events.new():
                _tell(event, scenario, observer)
            if result is not None:
                self._judge(result)
                return
            if self._child is None or self._child.poll() is not None:
                raise Lost(f"the SuperLink ended: {last_lines(self.state / 'superlink.log')}")
            pid = folder.pid()
            if pid is None and time.monotonic() > begin:
                raise Lost(f"Flower did not start the run ({self.connection.run_status(run)}).")
            if pid is not None and ended(pid, 0.0) and folder.result() is None:
                status = self.connection.run_status(run)
                raise Lost(f"the run's process ended ({status}): {last_lines(self.state / 'superlink.log')}")
            time.sleep(POLL)

    def _judge(self, result: Mapping[str, Any]) -> None:
        if result["status"] == "finished":
            return
        if result["status"] == "interrupted":
            raise Lost(f"the run was stopped: {result['message']}")
        failure = UsageError if result["code"] == UsageError.exit_code else RunError
        raise failure(str(result["message"]))

    def _end(self, folder: JobFolder) -> None:
        """Let the run's process write its checkpoint and end."""
        pid = folder.pid()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if not ended(pid, 0.0):
                os.kill(pid, signal.SIGTERM)
        if not ended(pid, CHECKPOINT_GRACE):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _new_keys(self) -> dict[str, Path]:
        """Return the public keys of the sites."""
        if self._listening.tls is None:
            return {}
        keys = sorted((self._listening.tls / "clients").glob("*/*.pub"))
        return {path.stem: path for path in keys}


def serve(
    scenario: Scenario,
    listening: Listening,
    state: Path,
    *,
    clients: int,
    wait: float,
    out: Path,
    observer: Observer,
) -> tuple[Path, dict[str, Any]]:
    """Run a scenario on sites that connect, whatever stops it on the way; returns run directory and summary.

    Parameters
    ----------
    scenario : Scenario
        What to run.
    listening : Listening
        Where, and with which certificates.
    state : Path
        Folder for everything that outlives the process; with the state of an unfinished run of the same scenario
        that run goes on.
    clients : int
        Sites to wait for.
    wait : float
        Seconds to wait for them.
    out : Path
        Directory of a new run.
    observer : Observer
        Is told of every round.

    Raises
    ------
    UsageError
        The state belongs to an unfinished run of another scenario.
    RunError
        The run failed.
    Interrupted
        On Ctrl-C or SIGTERM, after a checkpoint.
    """
    scenario = one_by_one(scenario)
    book = _open(state, scenario, out)
    directory = Path(book.out)
    done = RunReader(directory).summary() if (directory / RUN_SCENARIO).is_file() else None
    if done is not None:
        observer.note(
            f"{directory} is complete; there is nothing to go on with. A new run takes another --state."
        )
        return directory, done
    wanted = Wanted(clients, wait, directory, book.key)
    with Signals() as signals:
        attempts, rounds = 0, -1
        while True:
            try:
                with Coordinator(listening, state) as coordinator:
                    return directory, coordinator.run(scenario, wanted, observer, signals)
            except StopRequested as stop:
                raise Interrupted(
                    f"{stop}; go on with the same command and --state {state}.", stop.number
                ) from None
            except Lost as lost:
                now = _rounds(directory)
                attempts = 1 if now > rounds else attempts + 1
                rounds = max(rounds, now)
                if attempts >= ATTEMPTS:
                    raise RunError(f"{lost} It was begun {attempts} times without a further round.") from lost
                observer.note(f"{lost} Going on from the newest checkpoint.")
                time.sleep(min(15.0, float(attempts)))


def _open(state: Path, scenario: Scenario, out: Path) -> Book:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    book, own = Book.read(state), identity(scenario)
    if book is None:
        book = Book(uuid.uuid4().hex, own, str(out.resolve()))
        book.write(state)
    elif book.identity != own:
        raise UsageError(
            f"--state {state} belongs to the run {book.out} of another scenario; go on with that one, or choose "
            "another --state."
        )
    return book


def _runs_rounds(pid: int | None) -> bool:
    """Tell whether a process is one that Flower started for a run; its number may be another's by now."""
    try:
        return pid is not None and guard.SERVER_APP.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _rounds(directory: Path) -> int:
    with contextlib.suppress(FedbalError):
        return len(RunReader(directory).rounds())
    return 0


def _tell(event: Mapping[str, Any], scenario: Scenario, observer: Observer) -> None:
    if event["event"] == "started":
        observer.started(scenario, Path(event["directory"]), int(event["first_round"]))
    elif event["event"] == "round":
        observer.round_finished(event["row"])
    else:
        observer.note(str(event["text"]))


def with_clients(scenario: Scenario, clients: int) -> Scenario:
    """Return the scenario with its rows divided over so many clients, where their number is free."""
    partition = scenario.data.partition
    if not hasattr(partition, "clients") or partition.clients == clients:
        return scenario
    data = scenario.data.model_copy(update={"partition": partition.model_copy(update={"clients": clients})})
    return scenario.model_copy(update={"data": data})
