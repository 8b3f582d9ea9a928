"""Virtual clients on Ray: resident workers that keep the model and the data between messages."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from flwr.app import ArrayRecord
from flwr.clientapp import ClientApp

from fedbal.errors import RunError, UsageError
from fedbal.grid import flower
from fedbal.grid.base import VirtualGrid
from fedbal.grid.placement import longest_first
from fedbal.grid.resources import fit_workers
from fedbal.grid.work import NodeDirectory, Outcome, Runner, Task

PACKAGES = ("fedbal", "strategies", "clients")
ATTEMPTS = 3
READY_SECONDS = 120.0

T = TypeVar("T")


class Worker:
    """What runs in a Ray worker process."""

    def __init__(
        self,
        factory: Callable[[], ClientApp],
        directory: NodeDirectory,
        threads: int,
        origins: Mapping[str, str],
    ) -> None:
        from fedbal.determinism import pin

        check_origins(origins)
        flower.become()
        pin(threads)
        self._runner = Runner(factory(), directory)

    def ready(self) -> int:
        """Return the process id once everything is loaded."""
        return os.getpid()

    def work(self, tasks: Sequence[Task], *payloads: ArrayRecord) -> list[Outcome]:
        """Run the tasks in order."""
        shared = dict(enumerate(payloads))
        return [self._runner.run(task, shared) for task in tasks]


class RayGrid(VirtualGrid):
    """A grid of Ray workers.

    Each round's model goes to a worker once; a worker's clients come back together. A worker that dies is
    replaced and its clients run again, with the same result.

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
        Expected work of each client, by client index, for placement.
    cohort : int
        Clients of a round.
    workers : int, optional
        None: as many as fit.
    num_cpus, num_gpus : float
        Per worker, as in Ray; fractions allowed.
    threads : int
        Torch threads per worker.
    address : str, optional
        An existing Ray cluster; None: one on this machine.

    Attributes
    ----------
    workers : int
        Workers running.
    replaced : int
        Workers that died and were replaced.
    """

    def __init__(
        self,
        factory: Callable[[], ClientApp],
        directory: NodeDirectory,
        nodes: Sequence[int],
        *,
        costs: Sequence[float],
        cohort: int,
        workers: int | None = None,
        num_cpus: float = 1.0,
        num_gpus: float = 0.0,
        threads: int = 1,
        address: str | None = None,
    ) -> None:
        super().__init__(directory, nodes)
        self._ray = import_ray()
        self._costs = costs
        self._own_cluster = start(self._ray, address)
        self.replaced = 0
        self._closed = False
        self._pool: list[Any] = []
        self._thread = ThreadPoolExecutor(1, "fedbal-ray")
        try:
            self.workers = fit_workers(workers, num_cpus, num_gpus, cohort, self._ray.cluster_resources())
            self._arguments = (self._ray.put(factory), directory, threads, origins())
            self._actor = self._ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(Worker)
            self._pool = [self._actor.remote(*self._arguments) for _ in range(self.workers)]
            self._apart(self._wait_until_ready)
        except BaseException:
            self.close()
            raise

    def execute(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        """Place the tasks on the workers and gather their outcomes."""
        return self._apart(lambda: self._gather(tasks, payloads))

    def _gather(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        shared = [self._ray.put(payload) for payload in payloads]
        costs = [self._costs[self.directory.client(task.node)] for task in tasks]
        outcomes: dict[int, Outcome] = {}
        waiting = {}
        for worker, indices in enumerate(longest_first(costs, self.workers)):
            if indices:
                batch = [tasks[index] for index in indices]
                waiting[self._pool[worker].work.remote(batch, *shared)] = (worker, indices, 1)
        while waiting:
            done, _ = self._ray.wait(list(waiting), num_returns=1)
            worker, indices, attempt = waiting.pop(done[0])
            try:
                answers = self._ray.get(done[0])
            except self._ray.exceptions.RayActorError as error:
                again = self._replace(worker, attempt, error).work.remote(
                    [tasks[i] for i in indices], *shared
                )
                waiting[again] = (worker, indices, attempt + 1)
                continue
            outcomes.update(zip(indices, answers, strict=True))
        return [outcomes[index] for index in range(len(tasks))]

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

    def _replace(self, worker: int, attempt: int, error: Exception) -> Any:
        if self._closed:
            raise error
        if attempt >= ATTEMPTS:
            raise RunError(f"a Ray worker died {ATTEMPTS} times on the same clients: {error}") from error
        self.replaced += 1
        self._pool[worker] = self._actor.remote(*self._arguments)
        return self._pool[worker]

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
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(
            address=address,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise UsageError(f"no Ray cluster answers at runtime.address {address!r}: {error}") from error
    return True


def origins() -> dict[str, str]:
    """Return where each of fedbal's packages was imported from."""
    return {name: str(Path(__import__(name).__file__ or "").resolve()) for name in PACKAGES}


def check_origins(expected: Mapping[str, str]) -> None:
    """Refuse to work with other copies of the packages than the driver's."""
    for name, path in origins().items():
        if path != expected[name]:
            raise RunError(
                f"this worker imported {name!r} from {path}, the driver from {expected[name]}; a folder of that "
                f"name shadows fedbal's (sys.path starts with {sys.path[:2]}): rename it or start elsewhere."
            )
