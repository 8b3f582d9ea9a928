"""The minibatches of many clients, step by step, on one leading axis: the rows that each would see alone."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clients.augment import Augmentation, Changes
from clients.data import Pool
from clients.jobs import TrainJob


class Steps(NamedTuple):
    """Steps that follow one another and are alike, of the clients that are still at work, which come first."""

    clients: int
    """Clients at work, k."""
    padded: bool
    """Whether some clients have fewer rows than others."""
    inputs: tuple[Tensor, ...]
    """Rows of the pool (steps, k, b), or features (1, k, b, ...) and labels (1, k, b); real rows (steps, k)."""

    @property
    def kind(self) -> Hashable:
        """What tells steps apart beside their number."""
        return self.padded, *((one.shape[1:], one.stride()[1:]) for one in self.inputs)


class CohortBatches:
    """The steps of clients sorted from most to fewest steps.

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
        lengths = np.concatenate([job.batches.lengths for job in jobs])
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

    def runs(self) -> Iterator[Steps]:
        """Iterate over all steps, as many at a time as are alike."""
        if not len(self.sizes):
            return
        sizes = torch.from_numpy(self.sizes).to(self._jobs[0].local.data.train.pool.device)
        # Clients that are done have no rows, and the others stand before them.
        padded = self.sizes.sum(axis=1) < self.active * self.widths
        if self.pool is None:
            for step, (x, y) in enumerate(self.each()):
                active = int(self.active[step])
                yield Steps(active, bool(padded[step]), (x[None], y[None], sizes[step : step + 1, :active]))
            return
        rows, begins = self.rows()
        index = torch.from_numpy(rows).to(self.pool.device)
        kinds = np.stack([self.active, self.widths, padded])
        changes = np.flatnonzero((np.diff(kinds) != 0).any(axis=0)) + 1
        for first, last in itertools.pairwise([0, *changes.tolist(), len(self.sizes)]):
            active, width = int(self.active[first]), int(self.widths[first])
            own = index[int(begins[first]) : int(begins[last])].view(last - first, active, width)
            yield Steps(active, bool(padded[first]), (own, sizes[first:last, :active]))

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
        rows = np.concatenate([job.local.data.train.rows[job.batches.positions] for job in self._jobs])
        # Padding repeats a real row: its weight is 0, and zeros might not be valid inputs.
        filled = np.full(int(begins[-1]), rows[0] if len(rows) else 0, np.int64)
        if len(rows):
            starts = begins[self._step] + self._client * widths[self._step]
            offsets = np.arange(int(self._lengths.sum())) - np.repeat(
                np.cumsum(self._lengths) - self._lengths, self._lengths
            )
            filled[np.repeat(starts, self._lengths) + offsets] = rows
        return filled, begins

    def each(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over features (k, b, ...) and labels (k, b) of the steps of clients that change their rows."""
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
        return self._augment.changes(job.batches.lengths.tolist(), draws, local.data.train.pool.device)


def _padded(rows: Tensor, width: int) -> Tensor:
    short = width - len(rows)
    return rows if not short else torch.cat([rows, rows[:1].expand(short, *rows.shape[1:])])


def cut(pool: Pool, all_x: Tensor, all_y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the batches of many clients: features (k, b, ...) and labels (k, b) of rows (k, b)."""
    x, y = pool.cut(all_x, all_y, rows.reshape(-1))
    return x.view(*rows.shape, *x.shape[1:]), y.view(*rows.shape, *y.shape[1:])


def real_rows(x: Tensor, y: Tensor, sizes: Tensor) -> Tensor:
    """Return the weights (k, b) of batches whose first ``sizes`` (k,) rows are real: 1, and 0 for padding."""
    return (torch.arange(y.shape[1], device=y.device) < sizes[:, None]).to(x.dtype)
