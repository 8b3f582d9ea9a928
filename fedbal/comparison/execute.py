"""Runs what a plan lacks: on processes that share data, or on a Ray cluster; within a time limit, seed by seed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from fedbal.backend import choose_device
from fedbal.comparison.plan import Cell
from fedbal.comparison.store import Store, as_begun, is_done
from fedbal.comparison.watch import Watch
from fedbal.interrupts import Interrupted
from fedbal.scenario_blocks import RuntimeBlock
from fedbal.simulation import RunResult
from fedbal.sweep import FailedRun, run_many


def processes(runtime: RuntimeBlock, workers: int | None) -> int:
    """Return how many runs go on at once: as asked for, else what CPUs, or a card shared as declared, hold."""
    if workers is not None:
        return workers
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fitting = max(1, cpus // runtime.threads)
    if choose_device(runtime) == "cpu":
        return fitting
    share = runtime.num_gpus if isinstance(runtime.num_gpus, float) and runtime.num_gpus > 0 else 1.0
    return min(fitting, max(1, int(1 / share)))


class Admission:
    """Lets runs begin as long as their seed can be expected to end within a time limit.

    Parameters
    ----------
    seeds : sequence of int
        Seed of each run, by position.
    limit : float or None
        Wall time of all runs in seconds; None: no limit.
    clock : callable
        Tells the time in seconds.
    """

    def __init__(
        self, seeds: Sequence[int], limit: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seeds = seeds
        self._limit = limit
        self._clock = clock
        self._started = clock()
        self._begun: set[int] = set()
        self._ended = 0

    def __call__(self, index: int) -> bool:
        """Tell whether a run may begin now; the first seed may in any case, and a seed that was begun is ended."""
        seed = self._seeds[index]
        if seed not in self._begun and self._limit is not None and self._begun:
            spent = self._clock() - self._started
            rest = sum(one in self._begun for one in self._seeds) - self._ended
            needed = rest + self._seeds.count(seed)
            if not self._ended or spent + needed * spent / self._ended > self._limit:
                return False
        self._begun.add(seed)
        return True

    def ended(self) -> None:
        """Take note that a run has ended."""
        self._ended += 1

    @property
    def left(self) -> tuple[int, ...]:
        """Seeds that were not begun."""
        return tuple(seed for seed in dict.fromkeys(self._seeds) if seed not in self._begun)


def execute(
    cells: Sequence[Cell],
    store: Store,
    *,
    workers: int | None = None,
    seconds: float | None = None,
    cluster: str | None = None,
    watch: Watch | None = None,
    resume: str = "",
) -> tuple[int, ...]:
    """Run every cell that is not done yet; what is done is never run again.

    Parameters
    ----------
    cells : sequence of Cell
        In the order in which they run; of two with one address the first.
    store : Store
        The comparison's directory; failures are kept in it.
    workers : int, optional
        Processes; None: one a CPU, on a cluster one for each of its slots.
    seconds : float, optional
        Limit of the wall time: a seed that cannot be expected to end within it is not begun.
    cluster : str, optional
        Address of a Ray cluster, or auto; None: processes on this machine.
    watch : Watch, optional
        Shows progress.
    resume : str
        Command that goes on, for the message on Ctrl-C.

    Returns
    -------
    tuple of int
        Seeds that the time limit left out.

    Raises
    ------
    Interrupted
        On Ctrl-C or SIGTERM; every run that was going on can be resumed.
    """
    distinct = list({cell.address: cell for cell in cells}.values())
    waiting = [as_begun(cell) for cell in distinct if not is_done(cell)]
    seen = watch or Watch()
    failures = {
        address: reason
        for address, reason in store.failures().items()
        if address not in {cell.address for cell in waiting}
    }
    store.write_failures(failures)
    admission = Admission([cell.seed for cell in waiting], seconds)

    def ended(index: int, result: RunResult | FailedRun) -> None:
        admission.ended()
        cell = waiting[index]
        if isinstance(result, FailedRun):
            failures[cell.address] = result.reason
            store.write_failures(failures)
        seen.run_ended(cell, result)

    scenarios, directories = [cell.scenario for cell in waiting], [cell.directory for cell in waiting]
    with seen.over(waiting, done=len(distinct) - len(waiting)):
        try:
            if not waiting:
                pass
            elif cluster is not None:
                from fedbal.comparison.cluster import run_on_cluster

                run_on_cluster(
                    *(scenarios, directories),
                    address=cluster,
                    workers=workers,
                    observer=lambda index: seen.of(waiting[index]),
                    admit=admission,
                    ended=ended,
                )
            else:
                run_many(
                    *(scenarios, directories),
                    workers=workers,
                    observer=lambda index: seen.of(waiting[index]),
                    admit=admission,
                    ended=ended,
                )
        except Interrupted as stop:
            done = sum(is_done(cell) for cell in distinct)
            raise Interrupted(
                f"stopped with {done} of {len(distinct)} runs done; nothing is lost, go on with: {resume}",
                stop.number,
            ) from None
    return admission.left
