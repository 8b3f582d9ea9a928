"""The training of a group of clients: one after the other, or all at once."""

from __future__ import annotations

from clients.base import Tensors
from clients.jobs import TrainJob
from clients.trainer import Trainer
from clients.training import train_from


def train_alone(trainer: Trainer, job: TrainJob) -> tuple[Tensors, float]:
    """Train one client by itself.

    Returns
    -------
    tuple of (Tensors, float)
        All tensors that travel after training, and the mean training loss over all samples seen.
    """
    local = job.local
    return train_from(
        *(job.start, trainer.model, trainer.update, job.optimizer, local, job.frozen, job.batches),
        *(trainer.options, job.prior),
    )
