"""The training of a group of clients: one after the other, or all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from clients.base import Tensors
from clients.engine import Engine
from clients.jobs import TrainJob
from clients.trainer import Trainer
from clients.training import train_from
from fedbal.errors import RunError


def train_alone(trainer: Trainer, job: TrainJob) -> tuple[Tensors, float]:
    """Train one client by itself.

    Returns
    -------
    tuple of (Tensors, float)
        All tensors that travel after training, and the mean training loss over all samples seen.
    """
    if trainer.replays:
        from clients.replayed import train_replayed

        return train_replayed(trainer, job)
    local = job.local
    return train_from(
        *(job.start, trainer.model, trainer.update, job.optimizer, local, job.frozen, job.batches),
        *(trainer.options, job.prior),
    )


def train_cohort(
    trainer: Trainer,
    jobs: Sequence[TrainJob],
    engine: Engine,
    parted: Callable[[Exception], None] | None = None,
) -> list[tuple[Tensors, float] | Exception]:
    """Train the clients of a chunk.

    What goes wrong with all of them at once is tried again one by one, so that a client's failure is its own.

    Parameters
    ----------
    trainer : Trainer
        How clients train.
    jobs : sequence of TrainJob
        The clients, in an order that depends on the cohort alone.
    engine : Engine
        How to train them.
    parted : callable, optional
        Told what went wrong when clients that should have been trained at once are trained one by one.

    Returns
    -------
    list of (Tensors, float) or Exception
        For every client, in the order of ``jobs``, what :func:`train_alone` returns or what it raised.

    Raises
    ------
    torch.OutOfMemoryError
        The clients do not fit on the device; fewer may.
    RunError
        The step cannot be compiled.
    """
    if engine.together and jobs:
        try:
            return list(_together(trainer, jobs, engine))
        except (torch.OutOfMemoryError, RunError):
            raise
        except Exception as error:
            for job in jobs:
                job.local.progress.steps = 0
            if parted is not None:
                parted(error)
    return [_attempt(trainer, job) for job in jobs]


def _together(trainer: Trainer, jobs: Sequence[TrainJob], engine: Engine) -> list[tuple[Tensors, float]]:
    # Only here: a client on a device trains alone and pays for none of it.
    if engine.kind == "compiled":
        from clients.compiled import train_compiled

        return train_compiled(trainer, jobs, engine.chunk)
    from clients.vectorized import train_together

    return train_together(trainer, jobs)


def _attempt(trainer: Trainer, job: TrainJob) -> tuple[Tensors, float] | Exception:
    try:
        return train_alone(trainer, job)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        return error
