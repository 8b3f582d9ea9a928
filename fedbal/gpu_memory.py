"""How many workers fit on a card: the memory of one step is measured, the rest is arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from flwr.app import ConfigRecord, RecordDict

from clients import jobs
from clients.cohort import train_cohort
from clients.data import ClientData, Split
from clients.engine import Engine
from clients.records import encode
from clients.standard import Standard
from clients.trainer import Trainer
from clients.training import EVALUATED_ROWS, LocalPlan, evaluate
from fedbal import protocol
from fedbal.determinism import prepare
from fedbal.virtual import VirtualClients

HEADROOM = 1.2
"""What a worker may need, as a multiple of what it was seen to need."""
CONTEXT = 512 << 20
"""Bytes that CUDA itself takes in a process, which torch does not count."""
RAY_STEPS = 10_000
"""Ray keeps four decimals of a resource."""


@dataclass(frozen=True)
class Measured:
    """Memory in bytes.

    Attributes
    ----------
    peak : int
        What one worker was seen to need, > 0.
    total : int
        What the card has.
    """

    peak: int
    total: int

    @property
    def workers(self) -> int:
        """Workers that fit with head-room; at least one, which may have to train fewer clients at once."""
        return max(1, int(self.total / (self.peak * HEADROOM)))

    @property
    def share(self) -> float:
        """GPUs a worker, in (0, 1]."""
        return (RAY_STEPS // min(self.workers, RAY_STEPS)) / RAY_STEPS

    @property
    def note(self) -> str:
        """What a user should know."""
        gib = 1 << 30
        return (
            f"runtime.num_gpus auto: {self.share:g} a worker; a step took {self.peak / gib:.2g} of the card's "
            f"{self.total / gib:.3g} GiB"
        )


class Meter(Protocol):
    """Measures the memory that work takes on a device."""

    def __call__(self, work: Callable[[], None]) -> Measured:
        """Do the work and return its peak; the whole device where it does not fit."""
        ...


class CudaMeter:
    """Measures on the first card that this process sees."""

    def __call__(self, work: Callable[[], None]) -> Measured:
        """Do the work and return its peak."""
        total = int(torch.cuda.get_device_properties(0).total_memory)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(0)
        try:
            work()
            torch.cuda.synchronize()
        except torch.OutOfMemoryError:
            return Measured(total, total)
        return Measured(int(torch.cuda.max_memory_reserved(0)) + CONTEXT, total)


def probe(clients: VirtualClients) -> Measured:
    """Measure what a worker of a run needs, in a process that ends afterwards."""
    prepare(clients.device, clients.options.precision)
    return measure(clients, CudaMeter())


def measure(clients: VirtualClients, meter: Meter) -> Measured:
    """Measure the dataset, the model, a step of the largest clients that are trained at once, and an evaluation.

    Parameters
    ----------
    clients : VirtualClients
        The run's clients; their engine says how many are trained at once.
    meter : Meter
        Measures.
    """
    return meter(lambda: one_step(clients))


def one_step(clients: VirtualClients) -> None:
    """Do what takes the most memory in a run: one step of a whole chunk, and one evaluated batch."""
    trainer, data_of = clients.trainer(), clients.data_of()
    plan = LocalPlan(clients.plan.batch_size, steps=1)
    sizes = clients.federation.train.sizes
    count = clients.engine.chunk if clients.engine.together else 1
    largest = np.argsort(-sizes, kind="stable")[: min(count, int((sizes > 0).sum()))]
    members = [data_of.client(int(client)) for client in largest]
    content = _message(trainer, clients.federation.class_counts().tolist())
    try:
        _step(replace(trainer, plan=plan), members, content, clients.engine)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # Some updates read records that only their rule can make; the bulk of the memory is everybody's.
        plain = replace(trainer, plan=plan, update=Standard(trainer.update.criterion))
        _step(plain, members, content, clients.engine)
    pool = members[0].train.pool
    rows = np.arange(min(EVALUATED_ROWS, len(pool.y)))
    state = {name: value.detach() for name, value in trainer.model.state_dict().items()}
    evaluate(trainer.model, state, Split(pool, rows), trainer.measures)


def _step(trainer: Trainer, members: list[ClientData], content: RecordDict, engine: Engine) -> None:
    asked = [jobs.prepare(trainer, data, content, RecordDict()) for data in members]
    for result in train_cohort(trainer, asked, engine):
        if isinstance(result, Exception):
            raise result


def _message(trainer: Trainer, counts: list[int]) -> RecordDict:
    state = trainer.model.state_dict()
    arrays = encode({name: state[name].detach() for name in trainer.shared})
    config = ConfigRecord({protocol.SERVER_ROUND: 1, protocol.CLASS_COUNTS: counts})
    return RecordDict({protocol.ARRAYS: arrays, protocol.CONFIG: config})
