"""Virtual clients on Ray: resident workers that keep the model and the data between messages."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from flwr.app import ArrayRecord, MessageType
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from clients.app import TrainingApp
from clients.memory import DeviceFull
from fedbal.errors import RunError, UsageError
from fedbal.fingerprints import of_code
from fedbal.grid import flower
from fedbal.grid.base import VirtualGrid
from fedbal.grid.chunks import Chunks
from fedbal.grid.lean import FROM_MODEL, CohortTask, CohortWorker, call
from fedbal.grid.placement import Costs
from fedbal.grid.resources import fit_workers, room
from fedbal.grid.work import NodeDirectory, Outcome, Runner, Task
from fedbal.protocol import LOCAL_WORK, config_of
from strategies.order import CohortOrder
from strategies.stacked import StackedReplies

if TYPE_CHECKING:
    from clients.data import RowTransform, Split
    from fedbal.evaluation import Predictions
    from fedbal.gpu_memory import Measured
    from fedbal.protocol import Arrays

PACKAGES = ("fedbal", "strategies", "clients")
ATTEMPTS = 3
READY_SECONDS = 120.0
CHECK_SECONDS = 1.0
CONNECT_SECONDS = 10.0
RELEASE_SECONDS = 1.0

T = TypeVar("T")


class Worker:
    """What runs in a Ray worker process."""

    def __init__(
        self,
        factory: Callable[[], ClientApp],
        directory: NodeDirectory,
        threads: int,
        origins: Mapping[str, str],
        code: str,
    ) -> None:
        from fedbal.determinism import pin

        check_origins(origins, code)
        flower.become()
        pin(threads)
        self._factory = factory
        self._runner = Runner(factory(), directory)
        self._trainer: CohortWorker | None = None
        self._test: Split | None = None
        # What is there now stays; the collector need not look at it again.
        gc.freeze()

    def ready(self) -> int:
        """Return the process id once everything is loaded."""
        return os.getpid()

    def work(self, chunks: Sequence[Sequence[Task]], *payloads: ArrayRecord) -> list[Outcome]:
        """Run the chunks in order and return the outcomes of all their tasks."""
        shared = dict(enumerate(payloads))
        return [outcome for chunk in chunks for outcome in self._runner.run_chunk(chunk, shared)]

    def trains_cohorts(self) -> bool:
        """Tell whether the ClientApp is fedbal's own."""
        return isinstance(self._runner.app, TrainingApp)

    def cohort_step(self, what: str, task: CohortTask, argument: Any, *payloads: ArrayRecord) -> Any:
        """Do one step of :mod:`fedbal.grid.lean`."""
        if self._trainer is None:
            assert isinstance(self._runner.app, TrainingApp)
            self._trainer = CohortWorker(self._runner.app, self._runner.directory)
        return call(self._trainer, what, task, argument, payloads)

    def score(self, arrays: Arrays, transform: RowTransform | None) -> Predictions:
        """Predict the global test set."""
        from fedbal.evaluation import score
        from fedbal.virtual import VirtualClients, test_split

        clients, app = self._factory, self._runner.app
        assert isinstance(clients, VirtualClients)
        assert isinstance(app, TrainingApp)
        if self._test is None:
            self._test = test_split(clients.federation, clients.device)
        split = replace(self._test, transform=transform)
        return score(app.trainer.model, arrays, split)


class RayGrid(VirtualGrid):
    """A grid of Ray workers.

    Each round's model goes to a worker once; a worker's clients come back together. A worker that dies, alone or
    with its machine, is replaced wherever there is room and its clients run again, with the same result; where
    there is none left, fewer workers do all of it.

    Parameters
    ----------
    factory : callable
        Makes the ClientApp; called once in every worker. What it holds (the dataset) is put into Ray's
        object store once and mapped read-only by all workers of a machine.
    directory : NodeDirectory
        The population.
    nodes : sequence of int
        Node ids that can be asked.
    costs : sequence of float
        Expected work of each client, by client index, for placement; what was measured refines it.
    cohort : int
        Clients of a round.
    workers : int, optional
        None: as many as fit.
    num_cpus : float
        Per worker, as in Ray; fractions allowed.
    num_gpus : float or callable
        As ``num_cpus``; or what measures, in a process with a card to itself, the memory that decides.
    threads : int
        Torch threads per worker.
    address : str, optional
        An existing Ray cluster; None: one on this machine.
    chunks : Chunks, optional
        Which clients are trained at once; None: each by itself.

    Attributes
    ----------
    workers : int
        Workers running.
    replaced : int
        Workers that died.
    """

    def __init__(
        self,
        factory: Callable[[], ClientApp],
        directory: NodeDirectory,
        nodes: Sequence[int],
        *,
        costs: Sequence[float] | NDArray[np.float64],
        cohort: int,
        workers: int | None = None,
        num_cpus: float = 1.0,
        num_gpus: float | Callable[[], Measured] = 0.0,
        threads: int = 1,
        address: str | None = None,
        chunks: Chunks | None = None,
    ) -> None:
        super().__init__(directory, nodes, chunks)
        self._ray = import_ray()
        self._costs = Costs(costs)
        self._tests = hasattr(factory, "federation")
        self._own_cluster = start(self._ray, address)
        self.replaced = 0
        self._closed = False
        self._pool: list[Any] = []
        self._thread = ThreadPoolExecutor(1, "fedbal-ray")
        self._models: list[Any] = []
        self._holders: list[Any] = []
        self._again: list[Any] = []
        try:
            if callable(num_gpus):
                num_gpus = self._measured(num_cpus, num_gpus)
            self._shares = (num_cpus, num_gpus)
            self.workers = fit_workers(workers, num_cpus, num_gpus, cohort, self._ray.cluster_resources())
            if workers is None and address is not None:
                self.workers = max(1, min(self.workers, self._room()))
            shared = (self._ray.put(factory), self._ray.put(directory))
            self._arguments = (*shared, threads, origins(), of_code())
            self._actor = self._ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(Worker)
            self._pool = [self._actor.remote(*self._arguments) for _ in range(self.workers)]
            self._apart(self._wait_until_ready)
        except BaseException:
            self.close()
            raise

    def _measured(self, num_cpus: float, measure: Callable[[], Measured]) -> float:
        """Let a process with a whole card measure what a worker needs, and return the share of one."""
        fit_workers(1, num_cpus, 1.0, 1, self._ray.cluster_resources())
        task = self._ray.remote(num_cpus=num_cpus, num_gpus=1, max_calls=1)(measure_alone)
        try:
            found: Measured = self._apart(lambda: self._ray.get(task.remote(measure), timeout=READY_SECONDS))
        except self._ray.exceptions.GetTimeoutError as error:
            raise RunError(
                f"runtime.num_gpus is auto and no card was free to measure on in {READY_SECONDS:g} s; other Ray "
                "jobs may hold them: wait for them, or give the share as a number."
            ) from error
        except self._ray.exceptions.RayTaskError as error:
            raise RunError(
                f"runtime.num_gpus is auto and measuring a step failed: {error.cause}; give the share as a number."
            ) from error
        self.notes.append(found.note)
        return found.share

    def execute(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        """Place the tasks on the workers and gather their outcomes."""
        return self._apart(lambda: self._gather(tasks, payloads))

    def _gather(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        shared = [self._ray.put(payload) for payload in payloads]
        chunks = self.chunks_of(tasks)
        shares = self.placed([[tasks[index].node for index in chunk] for chunk in chunks])
        outcomes: dict[int, Outcome] = {}
        waiting = {}
        for worker, placed in zip(self._pool, shares, strict=True):
            if placed:
                batch = [[tasks[index] for index in chunks[one]] for one in placed]
                waiting[worker.work.remote(batch, *shared)] = (worker, placed, 1)
        while waiting:
            done, _ = self._ray.wait(list(waiting), num_returns=1)
            worker, placed, attempt = waiting.pop(done[0])
            try:
                answers = self._ray.get(done[0])
            except self._lost as error:
                worker = self._instead(worker, attempt, error)
                batch = [[tasks[index] for index in chunks[one]] for one in placed]
                waiting[worker.work.remote(batch, *shared)] = (worker, placed, attempt + 1)
                continue
            outcomes.update(zip((index for one in placed for index in chunks[one]), answers, strict=True))
        for index, task in enumerate(tasks):
            self._learn(task, outcomes[index])
        return [outcomes[index] for index in range(len(tasks))]

    @property
    def scores_models(self) -> bool:
        """Whether the workers know the global test set: they are of a run."""
        return self._tests

    def score(self, arrays: Arrays, transform: RowTransform | None = None) -> Predictions:
        """Let the first worker predict the global test set; another one if it dies."""
        return self._apart(lambda: self._scored(arrays, transform))

    def _scored(self, arrays: Arrays, transform: RowTransform | None) -> Predictions:
        worker, attempt = self._pool[0], 1
        model, rows = self._ray.put(arrays), self._ray.put(transform)
        while True:
            try:
                found: Predictions = self._ray.get(worker.score.remote(model, rows))
                return found
            except self._lost as error:
                worker, attempt = self._instead(worker, attempt, error), attempt + 1

    @cached_property
    def trains_cohorts(self) -> bool:
        """Whether the workers run fedbal's own clients."""
        return self._apart(lambda: bool(self._ray.get(self._pool[0].trains_cohorts.remote())))

    def placed(self, groups: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return for each worker which groups of nodes it trains."""
        return self._costs.placed([list(map(self.directory.client, group)) for group in groups], self.workers)

    def cohort_step(
        self, what: str, tasks: Sequence[CohortTask], argument: Any, payloads: Sequence[ArrayRecord] = ()
    ) -> list[Any]:
        """Let each worker do the step for its task; one that died is replaced, and trains its clients again."""
        return self._apart(lambda: self._stepped(what, tasks, argument, payloads))

    def learn(self, order: CohortOrder, replies: StackedReplies) -> None:
        """Remember what the clients' full local work took."""
        self._costs.learn_round(order, replies, self.directory.client)

    def _stepped(
        self, what: str, tasks: Sequence[CohortTask], argument: Any, payloads: Sequence[ArrayRecord]
    ) -> list[Any]:
        if what in FROM_MODEL:
            self._models = [self._ray.put(payload) for payload in payloads]
            self._holders = list(self._pool[: len(tasks)])
        told = None if argument is None else self._ray.put(argument)
        models = self._models

        def ask(worker: Any, task: CohortTask, again: bool) -> Any:
            if again and what not in FROM_MODEL:
                # Calls of one driver reach a worker in order.
                worker.cohort_step.remote("train", task, None, *models)
            return worker.cohort_step.remote(what, task, told, *(models if what in FROM_MODEL else ()))

        waiting = {ask(self._holders[i], task, False): (i, 1) for i, task in enumerate(tasks)}
        answers: dict[int, Any] = {}
        while waiting:
            done, _ = self._ray.wait(list(waiting), num_returns=1)
            index, attempt = waiting.pop(done[0])
            try:
                answers[index] = self._ray.get(done[0])
            except self._lost as error:
                self._holders[index] = self._instead(self._holders[index], attempt, error)
                waiting[ask(self._holders[index], tasks[index], True)] = (index, attempt + 1)
        return [answers[index] for index in range(len(tasks))]

    def _learn(self, task: Task, outcome: Outcome) -> None:
        """Remember what a client's full local work took; placement alone depends on it."""
        partial = LOCAL_WORK in config_of(task.content)
        if task.kind == MessageType.TRAIN and outcome.error is None and not partial:
            self._costs.learn(self.directory.client(task.node), outcome.seconds)

    def close(self) -> None:
        """End the workers, and the Ray instance if this grid started it."""
        self._closed = True
        for worker in self._pool:
            self._ray.kill(worker)
        self._pool = []
        self._thread.shutdown()
        if self._own_cluster:
            self._ray.shutdown()
            self._own_cluster = False

    def _apart(self, call: Callable[[], T]) -> T:
        """Run a blocking Ray call in a thread: raised inside one, a signal's exception would be lost."""
        return self._thread.submit(call).result()

    @property
    def _lost(self) -> tuple[type[Exception], ...]:
        """What Ray raises when a worker died, the machine that kept its answer, or its device was full."""
        errors = self._ray.exceptions
        return (errors.RayActorError, errors.ObjectLostError, DeviceFull)

    def _instead(self, worker: Any, attempt: int, error: Exception) -> Any:
        """Return who does the work of a worker that was lost."""
        if self._closed:
            raise error
        if isinstance(error, DeviceFull):
            return self._fewer(worker, attempt, error)
        if attempt >= ATTEMPTS:
            raise RunError(f"a Ray worker died {ATTEMPTS} times on the same clients: {error}") from error
        if worker not in self._pool:
            return self._pool[attempt % len(self._pool)]
        self.replaced += 1
        self.notes.append("a Ray worker died; its clients ran again, with the same result")
        position = self._pool.index(worker)
        # Ray may know a machine's death before that of its workers, or the other way round.
        self._ray.kill(worker)
        fresh = self._actor.remote(*self._arguments)
        if self._starts(fresh):
            self._pool[position] = fresh
            return fresh
        self._ray.kill(fresh)
        del self._pool[position]
        self.workers = len(self._pool)
        if not self._pool:
            raise RunError(
                "no Ray node is left with room for a worker; go on with `fedbal run --resume` once there is one."
            ) from error
        self.notes.append(f"Ray has no room left for a lost worker; {self.workers} worker(s) go on")
        return self._pool[attempt % len(self._pool)]

    def _fewer(self, worker: Any, attempt: int, error: DeviceFull) -> Any:
        """Let a worker go that found its device full, so that those who share it have its memory."""
        if worker in self._pool:
            if worker in self._again:
                # Another worker has gone since this one was asked.
                self._again.remove(worker)
                return worker
            if len(self._pool) == 1 or self._shares[1] >= 1:
                raise DeviceFull(str(error.args[0])) from None
            self._ray.kill(worker)
            self._pool.remove(worker)
            self.workers = len(self._pool)
            self.notes.append(
                f"a device ran out of memory with one client a worker; {self.workers} worker(s) go on, with the "
                "same result"
            )
            self._again = list(self._pool)
            # A process gives its memory back a moment after its end.
            time.sleep(RELEASE_SECONDS)
        return self._pool[attempt % len(self._pool)]

    def _starts(self, worker: Any) -> bool:
        """Wait until a worker is ready; False when the machines that are left have no room for it."""
        ready = worker.ready.remote()
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            done, _ = self._ray.wait([ready], timeout=CHECK_SECONDS)
            if done:
                try:
                    self._ray.get(ready)
                except self._lost:
                    return False
                return True
            if self._room() < len(self._pool):
                return False
        return False

    def _room(self) -> int:
        """Return how many workers the machines hold that are alive."""
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return room(alive, *self._shares)

    def _wait_until_ready(self) -> None:
        try:
            self._ray.get([worker.ready.remote() for worker in self._pool], timeout=READY_SECONDS)
        except self._ray.exceptions.GetTimeoutError as error:
            raise RunError(
                f"{self.workers} Ray worker(s) were not ready after {READY_SECONDS:g} s; other Ray jobs may hold "
                "the CPUs or GPUs: wait for them or lower runtime.workers."
            ) from error
        except self._ray.exceptions.RayTaskError as error:
            raise RunError(f"a Ray worker could not start: {error.cause}") from error
        except self._ray.exceptions.RayActorError as error:
            raise RunError(f"a Ray worker could not start: {error}") from error


def measure_alone(measure: Callable[[], Measured]) -> Measured:
    """Measure; a function with a name, as Ray shows it."""
    return measure()


def import_ray() -> Any:
    """Import Ray or say how to install it."""
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "runtime.backend is ray and Ray is not installed; install it with `pip install 'fedbal[sim]'`, "
            "or set runtime.backend to inprocess."
        ) from error
    return ray


def start(ray: Any, address: str | None) -> bool:
    """Start or join Ray unless this process already uses it; tell whether this call did."""
    if ray.is_initialized():
        return False
    if address is not None:
        require_answer(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(
            # Without an address one of our own, even where another Ray runs on this machine.
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise UsageError(f"no Ray cluster answers at runtime.address {address!r}: {error}") from error
    return True


def require_answer(address: str) -> None:
    """Refuse a ``host:port`` at which nothing listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster answers at runtime.address {address!r}: {error}; start one with `ray start --head`, "
            "or give the address that it printed."
        ) from error


def origins() -> dict[str, str]:
    """Return where each of fedbal's packages was imported from."""
    return {name: str(Path(__import__(name).__file__ or "").resolve()) for name in PACKAGES}


def check_origins(expected: Mapping[str, str], code: str) -> None:
    """Refuse to work with other copies of the packages than the driver's, unless they have the same content."""
    for name, path in origins().items():
        if path != expected[name] and of_code() != code:
            raise RunError(
                f"this worker imported {name!r} from {path}, the driver from {expected[name]}; a folder of that "
                f"name shadows fedbal's (sys.path starts with {sys.path[:2]}): rename it or start elsewhere."
            )
