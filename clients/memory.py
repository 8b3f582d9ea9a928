"""What happens when a device has no memory left: fewer clients at once, then a word to whoever shares it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from clients.base import Tensors
from clients.cohort import train_cohort
from clients.engine import Engine
from clients.jobs import TrainJob
from clients.trainer import Trainer
from fedbal.errors import RunError

OUT_OF_MEMORY = 200
"""Error code of a reply whose client found no memory on the device, although it was alone."""

Result = tuple[Tensors, float] | Exception


class DeviceFull(RunError):
    """One client at a time is still too much for what a worker has of its device."""


def device_full(error: torch.OutOfMemoryError) -> DeviceFull:
    """Return the error for a client that does not fit even alone."""
    reason = (str(error).splitlines() or ["out of memory"])[0][:200]
    return DeviceFull(
        f"one client does not fit into the memory of the device ({reason}); lower client.batch_size, set "
        "runtime.precision to bf16 or runtime.device to cpu."
    )


@dataclass
class Memory:
    """How many clients a process trains at once; fewer from the first time that its device was full.

    Attributes
    ----------
    chunk : int, optional
        Clients at once since then; None: the device has never been full.
    parted : str, optional
        What a user should know about clients that could not be trained at once; None: there have been none.
    """

    chunk: int | None = None
    parted: str | None = None

    def train(self, trainer: Trainer, jobs: Sequence[TrainJob], engine: Engine) -> list[Result]:
        """Train the clients of a chunk as :func:`clients.cohort.train_cohort` does, in parts if need be.

        A part that does not fit is begun again from the clients' jobs, which training does not change, with half
        of the clients.

        Parameters
        ----------
        trainer : Trainer
            How clients train.
        jobs : sequence of TrainJob
            The clients.
        engine : Engine
            How to train them while the device has room.

        Raises
        ------
        DeviceFull
            A client does not fit even alone.
        """
        results: list[Result] = []
        while len(results) < len(jobs):
            size = len(jobs) if not engine.together else self.chunk or len(jobs)
            part = jobs[len(results) : len(results) + size]
            fewer = engine if self.chunk is None else replace(engine, chunk=self.chunk)
            found = self._attempt(trainer, part, fewer)
            if found is not None:
                results += found
                continue
            for job in part:
                job.local.progress.steps = 0
            self.chunk = -(-len(part) // 2)
        return results

    def _parted(self, error: Exception) -> None:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        self.parted = f"clients were trained one by one, since training them at once failed: {reason}"

    def _attempt(self, trainer: Trainer, jobs: Sequence[TrainJob], engine: Engine) -> list[Result] | None:
        """Train; None when the device is full and there are clients to leave out."""
        try:
            return train_cohort(trainer, jobs, engine, self._parted)
        except torch.OutOfMemoryError as error:
            full = device_full(error)
        # The error's frames held the tensors; only now are they free.
        release()
        if len(jobs) == 1 or not engine.together:
            raise full
        return None


def release() -> None:
    """Give memory that torch keeps for later back to the device, for others who share it."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
