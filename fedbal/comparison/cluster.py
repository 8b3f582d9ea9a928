"""Runs of a comparison on a Ray cluster: one whole run at a time in each of its slots.

Every run goes through the same code as on processes and leaves the same bytes. Its rows stream back while it goes
on; its directory is written in place where the machine shares the disk, else it is sent back when the run ends. The
run of a machine that dies goes on elsewhere: from its checkpoint on a shared disk, else from what is here.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbal.comparison.shipping import pack, unpack
from fedbal.errors import FedbalError, RunError
from fedbal.grid.ray import READY_SECONDS, check_origins, import_ray, origins, start
from fedbal.grid.resources import fit_workers, room
from fedbal.interrupts import Interrupted, Signals, StopRequested
from fedbal.observer import Observer
from fedbal.results import SCENARIO, RunReader, disk_errors
from fedbal.scenario import Scenario, from_mapping
from fedbal.simulation import RunResult, run_here
from fedbal.sweep import ATTEMPTS, FailedRun
from fedbal.sweep_worker import Federations

if TYPE_CHECKING:
    from fedbal.scenario_blocks import RuntimeBlock

TICK_SECONDS = 0.2


class Runner:
    """What runs in a slot of the cluster."""

    def __init__(self, expected: Mapping[str, str], code: str, token: str, threads: int) -> None:
        from fedbal.determinism import pin

        check_origins(expected, code)
        pin(threads)
        self._federations = Federations()
        self._shares_disk = bool(token) and Path(token).is_file()

    def ready(self) -> bool:
        """Tell, once everything is loaded, whether this machine sees the driver's directories."""
        return self._shares_disk

    def run(
        self, content: Mapping[str, Any], directory: str, sent: bytes | None, index: int, mailbox: Any
    ) -> tuple[str | None, bytes | None]:
        """Do a run; returns why it failed, and its directory if that is not on a shared disk."""
        told = _Told(mailbox, index)
        if self._shares_disk:
            failure = self._try(content, Path(directory), told)
            told.flush()
            return failure, None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            if sent is not None:
                unpack(sent, path)
            failure = self._try(content, path, told)
            told.flush()
            return failure, pack(path) if (path / SCENARIO).is_file() else None

    def _try(self, content: Mapping[str, Any], path: Path, told: _Told) -> str | None:
        try:
            run_here(from_mapping(content), path, told, self._federations.of)
        except FedbalError as error:
            return str(error)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None


class Mailbox:
    """Keeps what runs tell until the driver fetches it."""

    def __init__(self) -> None:
        self._events: list[tuple[int, str, Any]] = []

    def put(self, index: int, kind: str, content: Any) -> None:
        """Keep an event of a run."""
        self._events.append((index, kind, content))

    def flush(self) -> None:
        """Answer when everything that the caller has put is there: Ray keeps the order of a caller's calls."""

    def take(self) -> list[tuple[int, str, Any]]:
        """Return and forget all events."""
        events, self._events = self._events, []
        return events


class _Told:
    """An observer that writes to the mailbox."""

    def __init__(self, mailbox: Any, index: int) -> None:
        self._mailbox = mailbox
        self._put = mailbox.put
        self._index = index

    def flush(self) -> None:
        """Wait until everything has arrived."""
        import_ray().get(self._mailbox.flush.remote())

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Tell that the run begins."""
        self._put.remote(self._index, "started", first_round)

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Tell a round's row."""
        self._put.remote(self._index, "round_finished", dict(row))

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Tell the summary."""
        self._put.remote(self._index, "finished", dict(summary))

    def note(self, message: str) -> None:
        """Tell a note."""
        self._put.remote(self._index, "note", message)


@dataclass
class _Slot:
    """An actor, what it does and what it will answer."""

    actor: Any
    answer: Any
    index: int | None = None
    """Position of its run; None while it starts."""
    shares_disk: bool = False


def run_on_cluster(
    scenarios: Sequence[Scenario],
    directories: Sequence[Path],
    *,
    address: str,
    observer: Callable[[int], Observer],
    admit: Callable[[int], bool],
    ended: Callable[[int, RunResult | FailedRun], None],
    workers: int | None = None,
    shared: bool = True,
) -> None:
    """Do runs on a Ray cluster.

    Parameters
    ----------
    scenarios : sequence of Scenario
        What to run, each on one slot whatever its ``runtime.backend``; slots have the resources that
        ``runtime.num_cpus`` and ``runtime.num_gpus`` of the first one ask for.
    directories : sequence of Path
        Where, as this machine sees it.
    address : str
        Of the cluster, or auto.
    observer, admit, ended
        As for :func:`fedbal.sweep.run_many`.
    workers : int, optional
        Slots; None: as many as there are.
    shared : bool
        Whether machines that see these directories write into them; otherwise all send their runs back.

    Raises
    ------
    UsageError
        There is no such cluster, or it is too small.
    RunError
        No machine is left.
    Interrupted
        On Ctrl-C or SIGTERM.
    """
    if not scenarios:
        return
    cluster = _Cluster(scenarios, directories, observer, admit, ended)
    with Signals(), ThreadPoolExecutor(1, "fedbal-cluster") as thread:
        # A signal's exception would be lost inside one of Ray's calls.
        work = thread.submit(cluster.run, address, workers, shared)
        try:
            work.result()
        except StopRequested as stop:
            cluster.stopping = True
            work.result()
            raise Interrupted(f"{stop}", stop.number) from None


class _Cluster:
    def __init__(
        self,
        scenarios: Sequence[Scenario],
        directories: Sequence[Path],
        observer: Callable[[int], Observer],
        admit: Callable[[int], bool],
        ended: Callable[[int, RunResult | FailedRun], None],
    ) -> None:
        self._ray = import_ray()
        self._scenarios = scenarios
        self._directories = directories
        self._observers = [observer(index) for index in range(len(scenarios))]
        self._admit = admit
        self._ended = ended
        self._waiting = list(range(len(scenarios)))
        self._deaths = [0] * len(scenarios)
        self._slots: list[_Slot] = []
        self._alone = time.monotonic()
        self.stopping = False

    def run(self, address: str, workers: int | None, shared: bool) -> None:
        """Do all runs that are admitted."""
        own = start(self._ray, address)
        token = self._directories[0].parent / f".seen-{uuid.uuid4().hex}"
        try:
            if shared:
                with disk_errors(token):
                    token.parent.mkdir(parents=True, exist_ok=True)
                    token.touch()
            self._prepare(workers, str(token.absolute()) if shared else "")
            while not self.stopping and self._step():
                pass
        finally:
            for slot in self._slots:
                self._ray.kill(slot.actor)
            token.unlink(missing_ok=True)
            if own:
                self._ray.shutdown()

    def _prepare(self, workers: int | None, token: str) -> None:
        from fedbal.fingerprints import of_code

        runtime = self._scenarios[0].runtime
        cpus, gpus = runtime.num_cpus, _gpus(runtime)
        count = fit_workers(workers, cpus, gpus, len(self._scenarios), self._ray.cluster_resources())
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        count = max(1, min(count, room(alive, cpus, gpus)))
        self._actor = self._ray.remote(num_cpus=cpus, num_gpus=gpus)(Runner)
        self._arguments = (origins(), of_code(), token, runtime.threads)
        self._mailbox = self._ray.remote(num_cpus=0)(Mailbox).remote()
        for _ in range(count):
            self._open_slot()

    def _open_slot(self) -> None:
        actor = self._actor.remote(*self._arguments)
        self._slots.append(_Slot(actor, actor.ready.remote()))

    def _step(self) -> bool:
        """Wait a moment, pass on what runs tell, take answers; False when nothing is left to do."""
        busy = [slot for slot in self._slots if slot.answer is not None]
        running = any(slot.index is not None for slot in busy)
        if not busy or not (running or self._waiting):
            return False
        done, _ = self._ray.wait([slot.answer for slot in busy], num_returns=1, timeout=TICK_SECONDS)
        self._pass_on()
        for slot in [slot for slot in busy if slot.answer in done]:
            self._take(slot)
        if running:
            self._alone = time.monotonic()
        elif time.monotonic() - self._alone > READY_SECONDS:
            raise RunError(
                f"no slot of the Ray cluster was free for {READY_SECONDS:g} s; other jobs may hold it, or its "
                "machines are gone. Nothing is lost: run the same command again."
            )
        return True

    def _take(self, slot: _Slot) -> None:
        errors, index = self._ray.exceptions, slot.index
        try:
            answer = self._ray.get(slot.answer)
        except (errors.RayActorError, errors.ObjectLostError) as error:
            self._bury(slot, str(error))
            return
        except errors.RayTaskError as error:
            raise RunError(f"a process of the Ray cluster could not start: {error.cause}") from error
        if index is None:
            slot.shares_disk = bool(answer)
        else:
            failure, content = answer
            path = self._directories[index]
            if content is not None:
                self._bring(content, path)
            self._pass_on()
            self._ended(index, FailedRun(path, failure) if failure else _result(path))
        self._next(slot)

    def _next(self, slot: _Slot) -> None:
        """Give a slot the next run that may begin; none: it rests."""
        slot.index = slot.answer = None
        index = next((index for index in self._waiting if self._admit(index)), None)
        if index is None:
            return
        self._waiting.remove(index)
        path = self._directories[index]
        begun = (path / SCENARIO).is_file() and not slot.shares_disk
        sent = pack(path) if begun else None
        slot.index = index
        slot.answer = slot.actor.run.remote(
            *(self._scenarios[index].resolved(), str(path.absolute()), sent, index, self._mailbox)
        )

    def _bury(self, slot: _Slot, reason: str) -> None:
        """Let another slot go on with the run of one that died."""
        index = slot.index
        self._slots.remove(slot)
        self._ray.kill(slot.actor)
        if index is not None:
            self._deaths[index] += 1
            if self._deaths[index] < ATTEMPTS:
                self._observers[index].note("its Ray process died; the run goes on in another one")
                self._waiting.insert(0, index)
            else:
                text = f"its Ray process died {ATTEMPTS} times: {(reason.splitlines() or [''])[0]}"
                self._ended(index, FailedRun(self._directories[index], text))
        resting = next((one for one in self._slots if one.answer is None), None)
        if resting is not None and self._waiting:
            self._next(resting)
        self._open_slot()

    def _pass_on(self) -> None:
        for index, kind, content in self._ray.get(self._mailbox.take.remote()):
            observer = self._observers[index]
            if kind == "started":
                observer.started(self._scenarios[index], self._directories[index], content)
            else:
                getattr(observer, kind)(content)

    def _bring(self, content: bytes, path: Path) -> None:
        """Put a directory that was sent in the place of what was here of the run."""
        temporary = path.with_name(f".{path.name}.part")
        with disk_errors(path):
            shutil.rmtree(temporary, ignore_errors=True)
            unpack(content, temporary)
            shutil.rmtree(path, ignore_errors=True)
            temporary.rename(path)


def _gpus(runtime: RuntimeBlock) -> float:
    if runtime.num_gpus == "auto":
        return 0.0 if runtime.device == "cpu" else 1.0
    return runtime.num_gpus


def _result(path: Path) -> RunResult:
    summary = RunReader(path).summary()
    if summary is None:
        raise RunError(f"{path} has no summary although its run ended; does the disk lag behind?")
    return RunResult(path, summary)
