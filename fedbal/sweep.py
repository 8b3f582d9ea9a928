"""Many runs on a few processes that keep their modules and data from run to run.

Processes, not Ray actors: they need nothing installed, start in parallel within seconds, and one that is killed
takes its own run alone with it, which another resumes. Each run goes through the same code as ``fedbal run`` in one
process, with the threads that its scenario names, and leaves the same bytes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from typing import Any

from fedbal.errors import FedbalError, RunError, UsageError
from fedbal.interrupts import Interrupted, Signals, StopRequested
from fedbal.observer import Observer, Silent
from fedbal.results import SCENARIO, RunReader
from fedbal.scenario import Scenario
from fedbal.simulation import RunResult
from fedbal.sweep_worker import data_key

ATTEMPTS = 3
"""Processes that may die on one run."""
STOP_SECONDS = 60.0
"""How long a stopped process may take for its checkpoint."""


@dataclass(frozen=True)
class FailedRun:
    """A run of a sweep that came to no end.

    Attributes
    ----------
    directory : Path
        Where it would be; it may hold what was done before.
    reason : str
        What went wrong, in one sentence.
    """

    directory: Path
    reason: str

    @property
    def status(self) -> str:
        """``failed``."""
        return "failed"


class OpenRun(FailedRun):
    """A run that was not begun because ``admit`` refused it."""

    @property
    def status(self) -> str:
        """``open``."""
        return "open"


def run_many(
    scenarios: Sequence[Scenario],
    out: str | Path | Sequence[str | Path],
    *,
    workers: int | None = None,
    observer: Callable[[int], Observer] | None = None,
    admit: Callable[[int], bool] | None = None,
    ended: Callable[[int, RunResult | FailedRun], None] | None = None,
) -> list[RunResult | FailedRun]:
    """Simulate many scenarios on processes that share what runs have in common.

    A directory that already holds the run is taken as it is if the run is complete, else resumed: called again with
    the same arguments, a sweep that was stopped goes on. One run's failure does not stop the others.

    Parameters
    ----------
    scenarios : sequence of Scenario
        What to run; runs with the same data and partition seed share them, most of all when they follow each other.
    out : str, Path or a sequence of them
        A folder for directories named by position and strategy, or one directory for each scenario.
    workers : int, optional
        Processes, >= 1; default: one a CPU, but no more than runs. Every run is in one process, whatever its
        ``runtime.backend``.
    observer : callable, optional
        Returns who is told of the run at a position; told from this process.
    admit : callable, optional
        Asked, with a position, whenever a process is free whether that run may begin; one that is always refused
        stays an :class:`OpenRun`.
    ended : callable, optional
        Told, with its position, of every run that comes to an end, good or bad.

    Returns
    -------
    list of RunResult or FailedRun
        In the order of the scenarios.

    Raises
    ------
    UsageError
        The arguments do not fit together.
    Interrupted
        On Ctrl-C or SIGTERM, after a checkpoint of every run that was going on.
    """
    directories = _directories(scenarios, out)
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; give 1 or more.")
    sweep = _Sweep(scenarios, directories, observer or (lambda index: Silent()), admit, ended)
    with Signals():
        try:
            sweep.run(min(workers or _cpus(), len(scenarios)))
        except StopRequested as stop:
            sweep.stop()
            raise Interrupted(
                f"{stop} with {sweep.ended} of {len(scenarios)} runs done; every other one can be resumed: call it "
                "again with the same directories.",
                stop.number,
            ) from None
        finally:
            sweep.stop()
    return [
        sweep.results.get(index) or OpenRun(path, "it was not begun")
        for index, path in enumerate(directories)
    ]


class _Worker:
    """A process and the run it does."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        number = theirs.fileno()
        # Its own session: Ctrl-C reaches the sweep, which stops its processes itself.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fedbal.sweep_worker", str(number)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            stdin=subprocess.DEVNULL,
            pass_fds=[number],
            start_new_session=True,
        )
        theirs.close()
        self.index: int | None = None
        self.data: str | None = None


class _Sweep:
    def __init__(
        self,
        scenarios: Sequence[Scenario],
        directories: Sequence[Path],
        observer: Callable[[int], Observer],
        admit: Callable[[int], bool] | None = None,
        ended: Callable[[int, RunResult | FailedRun], None] | None = None,
    ) -> None:
        self.results: dict[int, RunResult | FailedRun] = {}
        self._scenarios = scenarios
        self._directories = directories
        self._observers = [observer(index) for index in range(len(scenarios))]
        self._keys = [data_key(scenario) for scenario in scenarios]
        self._deaths = [0] * len(scenarios)
        self._workers: list[_Worker] = []
        self._waiting: list[int] = []
        self._admit = admit or (lambda index: True)
        self._tell = ended or (lambda index, result: None)

    @property
    def ended(self) -> int:
        """Runs that came to an end, good or bad."""
        return len(self.results)

    def run(self, workers: int) -> None:
        """Run everything that is not there yet."""
        for index in range(len(self._scenarios)):
            if self._is_open(index):
                self._waiting.append(index)
        for _ in range(min(workers, len(self._waiting))):
            self._workers.append(_Worker())
        for worker in self._workers:
            self._next(worker)
        while any(worker.index is not None for worker in self._workers):
            ready = wait([worker.connection for worker in self._workers if worker.index is not None])
            for worker in [worker for worker in self._workers if worker.connection in ready]:
                self._hear(worker)

    def stop(self) -> None:
        """End all processes: those that have a run after its checkpoint."""
        for worker in self._workers:
            if worker.index is not None:
                worker.process.terminate()
            else:
                worker.connection.close()
        for worker in self._workers:
            try:
                worker.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.connection.close()
        self._workers.clear()

    def _is_open(self, index: int) -> bool:
        """Tell whether a run must still be done; note what is known of one that need or can not."""
        path = self._directories[index]
        try:
            if not (path / SCENARIO).is_file():
                return True
            reader = RunReader(path)
            if _but_runtime(reader.scenario) != _but_runtime(self._scenarios[index].resolved()):
                raise UsageError(f"{path} holds the run of another scenario; choose another directory.")
            summary = reader.summary()
        except FedbalError as error:
            self._end(index, FailedRun(path, str(error)))
            return False
        if summary is not None:
            self._end(index, RunResult(path, summary))
        return summary is None

    def _end(self, index: int, result: RunResult | FailedRun) -> None:
        """Keep what became of a run, and tell it."""
        self.results[index] = result
        self._tell(index, result)

    def _next(self, worker: _Worker) -> None:
        """Give a process the next run, one with the data that it has if there is such a one."""
        worker.index = None
        order = sorted(self._waiting, key=lambda index: self._keys[index] != worker.data)
        index = next((index for index in order if self._admit(index)), None)
        if index is None:
            return
        self._waiting.remove(index)
        worker.index, worker.data = index, self._keys[index]
        with suppress(BrokenPipeError):
            worker.connection.send((self._scenarios[index].resolved(), self._directories[index].absolute()))

    def _hear(self, worker: _Worker) -> None:
        index = worker.index
        assert index is not None
        try:
            kind, content = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker, index)
            return
        observer, path = self._observers[index], self._directories[index]
        if kind == "started":
            observer.started(self._scenarios[index], path, content)
        elif kind == "ended":
            self._end(index, FailedRun(path, content) if content else _result(path))
            self._next(worker)
        else:
            getattr(observer, kind)(content)

    def _bury(self, worker: _Worker, index: int) -> None:
        """Replace a process that died and let another go on with its run."""
        worker.connection.close()
        code = worker.process.wait()
        self._workers.remove(worker)
        self._deaths[index] += 1
        if self._deaths[index] < ATTEMPTS:
            self._observers[index].note(
                f"its process died (exit code {code}); the run goes on in another one"
            )
            self._waiting.insert(0, index)
        else:
            reason = f"its process died {ATTEMPTS} times, at last with exit code {code}"
            self._end(index, FailedRun(self._directories[index], reason))
        if self._waiting:
            fresh = _Worker()
            self._workers.append(fresh)
            self._next(fresh)


def _result(path: Path) -> RunResult:
    summary = RunReader(path).summary()
    if summary is None:
        raise RunError(f"{path} has no summary although its run ended; was it changed meanwhile?")
    return RunResult(path, summary)


def _but_runtime(content: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a run may be given another value of: where and how it is computed, and who follows it."""
    return {key: value for key, value in content.items() if key not in ("runtime", "track")}


def _directories(scenarios: Sequence[Scenario], out: str | Path | Iterable[str | Path]) -> list[Path]:
    if isinstance(out, str | Path):
        digits = len(str(max(len(scenarios) - 1, 0)))
        # Of a rule of one's own, path:Class or module:Class, the class.
        rules = [scenario.strategy.name.rpartition(":")[2] for scenario in scenarios]
        names = [re.sub(r"[^\w.-]+", "-", rule) for rule in rules]
        return [Path(out) / f"{index:0{digits}d}-{name}" for index, name in enumerate(names)]
    directories = [Path(path) for path in out]
    if len(directories) != len(scenarios):
        raise UsageError(f"{len(scenarios)} scenarios and {len(directories)} directories; give one for each.")
    if len({path.resolve() for path in directories}) < len(directories):
        raise UsageError("two scenarios have the same directory; give one for each.")
    return directories


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
