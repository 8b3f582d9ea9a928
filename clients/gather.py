"""The minibatches of many clients, step by step, on one leading axis: the rows that each would see alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clients.augment import Augmentation, Changes
from clients.data import Pool
from clients.jobs import TrainJob

VALUES_AT_ONCE = 2**22
"""Numbers that are cut out of the pool in one go."""


class CohortBatch(NamedTuple):
    """One step of the clients that are still at work, which come first."""

    x: Tensor
    """(k, b, ...), float32."""
    y: Tensor
    """(k, b), int64."""
    weight: Tensor | None
    """(k, b): 1 for a real row, 0 for padding; None: all real."""


class CohortBatches:
    """Iterates over the steps of clients sorted from most to fewest steps.

    Parameters
    ----------
    jobs : sequence of TrainJob
        The clients.
    augment : Augmentation
        Random changes of images.
    seed : int
        Training seed of the augmentation's streams.

    Attributes
    ----------
    sizes : ndarray, shape (steps, n)
        Rows of each client in each step; 0 once it is done.
    active : ndarray, shape (steps,)
        Clients at work in each step.
    """

    def __init__(self, jobs: Sequence[TrainJob], augment: Augmentation, seed: int) -> None:
        self._jobs = jobs
        self._augment = augment
        self._seed = seed
        steps = np.array([job.steps for job in jobs])
        lengths = np.fromiter(
            (len(batch) for job in jobs for batch in job.batches), np.int64, int(steps.sum())
        )
        self.sizes = np.zeros((int(steps.max(initial=0)), len(jobs)), np.int64)
        self._client = np.repeat(np.arange(len(jobs)), steps)
        self._step = np.arange(len(lengths)) - np.repeat(np.cumsum(steps) - steps, steps)
        self.sizes[self._step, self._client] = lengths
        self._lengths = lengths
        self.active = (self.sizes > 0).sum(axis=1)
        self.widths = self.sizes.max(axis=1, initial=0)

    @property
    def pool(self) -> Pool | None:
        """The pool of all clients, if their batches are its rows as they are; None: clients change them."""
        first = self._jobs[0].local.data.train
        same = not self._augment.active and all(
            split.pool is first.pool and split.shift is None and split.transform is None
            for split in (job.local.data.train for job in self._jobs)
        )
        return first.pool if same else None

    def __iter__(self) -> Iterator[CohortBatch]:
        cut = self._one_by_one() if self.pool is None else self._from_pool(self.pool)
        device = self._jobs[0].local.data.train.pool.device
        sizes = torch.from_numpy(self.sizes).to(device)
        for step, (x, y) in enumerate(cut):
            active, width = int(self.active[step]), int(self.widths[step])
            weight = None
            if (self.sizes[step, :active] < width).any():
                real = torch.arange(width, device=device) < sizes[step, :active, None]
                weight = real.to(x.dtype)
            yield CohortBatch(x, y, weight)

    def rows(self, width: int | None = None, clients: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pool's rows of all steps in one array, and where each step begins in it.

        Parameters
        ----------
        width : int, optional
            Rows of every client in every step; None: those of the step's largest batch, and active clients only.
        clients : int
            Clients of every step when ``width`` is given, finished ones and further ones without rows included.
        """
        if width is None:
            widths, block = self.widths, self.active * self.widths
        else:
            widths = np.full_like(self.widths, width)
            block = widths * clients
        begins = np.concatenate([[0], np.cumsum(block)])
        parts = [job.local.data.train.rows[np.concatenate(job.batches)] for job in self._jobs if job.batches]
        # Padding repeats a real row: its weight is 0, and zeros might not be valid inputs.
        filled = np.full(int(begins[-1]), parts[0][0] if parts else 0, np.int64)
        if parts:
            starts = begins[self._step] + self._client * widths[self._step]
            offsets = np.arange(int(self._lengths.sum())) - np.repeat(
                np.cumsum(self._lengths) - self._lengths, self._lengths
            )
            filled[np.repeat(starts, self._lengths) + offsets] = np.concatenate(parts)
        return filled, begins

    def _from_pool(self, pool: Pool) -> Iterator[tuple[Tensor, Tensor]]:
        rows, begins = self.rows()
        index = torch.from_numpy(rows).to(pool.device)
        at_once = max(1, VALUES_AT_ONCE // max(1, math.prod(pool.x.shape[1:])))
        step = 0
        while step < len(self.sizes):
            # As many whole steps as fit, at least one.
            last = max(step + 1, int(np.searchsorted(begins, begins[step] + at_once, side="right")) - 1)
            x, y = pool.batch(index[int(begins[step]) : int(begins[last])])
            for one in range(step, last):
                a, b = int(begins[one] - begins[step]), int(begins[one + 1] - begins[step])
                shape = (int(self.active[one]), int(self.widths[one]))
                yield x[a:b].view(*shape, *x.shape[1:]), y[a:b].view(*shape, *y.shape[1:])
            step = last

    def _one_by_one(self) -> Iterator[tuple[Tensor, Tensor]]:
        cuts = [job.local.data.train.cut(job.batches) for job in self._jobs]
        changes = [self._changes(job) for job in self._jobs]
        for step in range(len(self.sizes)):
            xs, ys, width = [], [], int(self.widths[step])
            active = int(self.active[step])
            for cut, change in zip(cuts[:active], changes[:active], strict=True):
                x, y = next(cut)
                x, y = self._augment.apply_rows(x, y, next(change))
                xs.append(_padded(x, width))
                ys.append(_padded(y, width))
            yield torch.stack(xs), torch.stack(ys)

    def _changes(self, job: TrainJob) -> Iterator[Changes]:
        local = job.local
        draws = self._augment.draws(self._seed, local.data.key, local.round)
        sizes = [len(one) for one in job.batches]
        return self._augment.changes(sizes, draws, local.data.train.pool.device)


def _padded(rows: Tensor, width: int) -> Tensor:
    short = width - len(rows)
    return rows if not short else torch.cat([rows, rows[:1].expand(short, *rows.shape[1:])])
