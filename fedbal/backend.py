"""Which grid and which device a scenario runs on; the choice never changes a result on the same device."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fedbal.errors import UsageError
from fedbal.gpu_memory import Measured, probe
from fedbal.grid.base import VirtualGrid
from fedbal.grid.chunks import Chunks
from fedbal.grid.inprocess import InProcessGrid
from fedbal.grid.ray import RayGrid, import_ray
from fedbal.grid.threads import ThreadGrid
from fedbal.grid.work import NodeDirectory
from fedbal.scenario_blocks import RuntimeBlock
from fedbal.virtual import VirtualClients

SECONDS_THAT_PAY = 30.0
"""Ray takes some seconds to start; below this estimate one process is done sooner."""
SECONDS_THAT_PAY_THREADS = 3.0
"""Each thread makes and warms a model of its own; below this estimate one is done sooner."""
MOST_THREADS = 8
"""Beyond, threads wait for each other's Python; processes do not."""
SECONDS_PER_STEP = 2e-4
FLOPS_PER_SECOND = 5e9


@dataclass(frozen=True)
class Load:
    """The work of a run, for the choice of a backend.

    Attributes
    ----------
    rounds : int
        Rounds.
    cohort : int
        Clients a round.
    steps : float
        Minibatch steps of an average client in a round.
    batch : int
        Samples a step.
    parameters : int
        Trainable numbers of the model.
    pure : bool
        Whether what clients compute is a function of tensors alone, on the CPU, so that threads can train them.
    """

    rounds: int
    cohort: int
    steps: float
    batch: int
    parameters: int
    pure: bool = False

    @property
    def seconds(self) -> float:
        """Rough wall time in one process on one core."""
        step = SECONDS_PER_STEP + 6.0 * self.parameters * self.batch / FLOPS_PER_SECOND
        return self.rounds * self.cohort * self.steps * step


def cuda_is_there() -> bool:
    """Tell whether torch finds a CUDA device in this process."""
    return torch.cuda.is_available()


def choose_device(runtime: RuntimeBlock) -> str:
    """Return the device for training, or say that the one asked for is not there."""
    remote = runtime.address is not None
    wanted = runtime.device
    there = torch.cuda.is_available() or remote
    if wanted == "auto":
        asked = runtime.num_gpus
        if asked != 0 and not there:
            given = asked if asked == "auto" else f"{asked:g}"
            raise UsageError(
                f"runtime.num_gpus is {given} and this machine has no GPU that torch can use; "
                "set it to 0 to run on the CPU."
            )
        return "cpu" if asked == 0 else "cuda"
    if wanted.startswith("cuda") and not there:
        raise UsageError(
            f"runtime.device is {wanted} and torch finds no CUDA device here; set it to cpu, or install a CUDA "
            "build of torch."
        )
    return wanted


class Placement(NamedTuple):
    """Where clients are trained."""

    backend: Literal["inprocess", "ray"]
    threads: int = 1
    """Workers that are threads of this process."""


HERE = Placement("inprocess")
"""One client after the other, or chunk after chunk, in this thread."""


def choose_placement(runtime: RuntimeBlock, load: Load) -> Placement:
    """Return where to train: here, by threads if they pay, or on Ray if more workers than that are useful.

    Threads train clients whose work is a function of tensors alone; Ray's processes train any.
    """
    here = Placement("inprocess", _threads(runtime, load))
    if runtime.backend != "auto":
        return here if runtime.backend == "inprocess" else Placement("ray")
    if importlib.util.find_spec("ray") is None or runtime.workers == 1 or load.cohort == 1:
        return here
    if runtime.address is not None or _shares_a_card(runtime):
        return Placement("ray")
    if load.pure and (runtime.workers if runtime.workers != "auto" else _cores()) <= MOST_THREADS:
        return here
    if runtime.workers != "auto":
        return Placement("ray")
    enough = _cores() >= 2 * runtime.num_cpus and load.seconds > SECONDS_THAT_PAY
    return Placement("ray") if enough else here


def _threads(runtime: RuntimeBlock, load: Load) -> int:
    if not load.pure:
        return 1
    if runtime.workers != "auto":
        return min(runtime.workers, load.cohort)
    if load.seconds < SECONDS_THAT_PAY_THREADS:
        return 1
    fitting = int(_cores() / max(runtime.num_cpus, runtime.threads))
    return max(1, min(fitting, load.cohort, MOST_THREADS))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _share(runtime: RuntimeBlock, clients: VirtualClients) -> float | Callable[[], Measured]:
    """Return the GPUs of a worker, or what measures the memory that decides them."""
    if runtime.num_gpus != "auto":
        return runtime.num_gpus
    return partial(probe, clients) if clients.device.startswith("cuda") else 0.0


def _shares_a_card(runtime: RuntimeBlock) -> bool:
    if runtime.num_gpus == "auto":
        return runtime.device != "cpu"
    return 0 < runtime.num_gpus < 1


def make_grid(
    placement: Placement,
    runtime: RuntimeBlock,
    clients: VirtualClients,
    directory: NodeDirectory,
    nodes: Sequence[int],
    costs: Sequence[float] | NDArray[np.float64],
    cohort: int,
) -> VirtualGrid:
    """Start the grid of a placement."""
    chunks = Chunks(clients.engine, clients.plan, clients.federation.train.sizes)
    if placement.threads > 1:
        parts = (clients, directory, nodes, chunks)
        return ThreadGrid(*parts, costs=costs, workers=placement.threads, threads=runtime.threads)
    if placement == HERE:
        return InProcessGrid(clients(), directory, nodes, chunks)
    import_ray()
    return RayGrid(
        clients,
        directory,
        nodes,
        costs=costs,
        cohort=cohort,
        workers=None if runtime.workers == "auto" else runtime.workers,
        num_cpus=runtime.num_cpus,
        num_gpus=_share(runtime, clients),
        threads=runtime.threads,
        address=runtime.address,
        chunks=chunks,
    )
