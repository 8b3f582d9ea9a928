"""The samples a client trains on: a pool in memory once, and index lists into it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Pool:
    """Rows of one dataset, held once per process and shared by all clients.

    Parameters
    ----------
    x : ndarray, shape (n, ...)
        Features; ``uint8`` images stay ``uint8`` until a batch is cut.
    y : ndarray, shape (n,)
        Labels, 0-based; of images, masks ``(n, height, width)`` of them.
    divide : float
        Every batch is divided by it.
    mean, std : sequence of float
        Then standardised per channel (first axis of a sample); empty: not at all.
    device : str
        Where the rows live and batches are made.
    """

    def __init__(
        self,
        x: NDArray[np.generic],
        y: NDArray[np.int64],
        *,
        divide: float = 1.0,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        device: str = "cpu",
    ) -> None:
        self.x = _tensor(x).to(device)
        self.y = _tensor(y).to(device)
        self._divide = divide
        self._mean = _per_channel(mean, self.x).to(device)
        self._std = _per_channel(std, self.x).to(device)

    @property
    def device(self) -> torch.device:
        """Where the rows live."""
        return self.x.device

    def batch(self, rows: Tensor, shift: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Cut a batch: features ``(b, ...)`` as scaled float32, labels ``(b,)``.

        ``shift`` changes the features after the division and before they are standardised.
        """
        return self.cut(self.x, self.y, rows, shift)

    def cut(
        self, x: Tensor, y: Tensor, rows: Tensor, shift: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cut a batch out of given rows, the pool's own for :meth:`batch`; a compiled step takes them as inputs."""
        x = x.index_select(0, rows).to(torch.float32)
        if self._divide != 1.0:
            x = x / self._divide
        if shift is not None:
            x = shift(x)
        if self._mean.numel():
            x = (x - self._mean) / self._std
        return x, y.index_select(0, rows)


RowTransform = Callable[[Tensor, NDArray[np.int64]], Tensor]
"""What changes a batch (b, ...) of the rows (b,) of a pool."""


@dataclass(frozen=True)
class Split:
    """Some rows of a pool: one client's training, validation or test part.

    Attributes
    ----------
    pool : Pool
        Shared by all clients; never copied, whatever a client does to its batches.
    rows : ndarray, shape (n,)
        Positions in the pool.
    shift : callable, optional
        The client's feature shift: ``shift(x, rows)`` of features and their rows in the pool.
    transform : callable, optional
        Imputation and scaling of the finished batch: ``transform(x, rows)``.
    """

    pool: Pool
    rows: NDArray[np.int64]
    shift: RowTransform | None = None
    transform: RowTransform | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Cut the batch at ``positions`` (b,) of this split."""
        rows = self.rows[positions]
        return self._cut(torch.from_numpy(rows).to(self.pool.device), rows)

    def cut(self, batches: Iterable[NDArray[np.int64]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Cut one batch after the other; where they lie goes to the device once, for all of them."""
        rows = [self.rows[positions] for positions in batches]
        if not rows:
            return
        index = torch.from_numpy(np.concatenate(rows)).to(self.pool.device)
        for own, part in zip(rows, torch.split(index, [len(own) for own in rows]), strict=True):
            yield self._cut(part, own)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the split in order."""
        starts = range(0, len(self), size)
        return self.cut(np.arange(start, min(start + size, len(self))) for start in starts)

    def _cut(self, index: Tensor, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        own = self.shift
        shift = None if own is None else lambda x: own(x, rows)
        x, y = self.pool.batch(index, shift)
        return (x if self.transform is None else self.transform(x, rows)), y

    def label_counts(self, num_classes: int) -> NDArray[np.int64]:
        """Return how many samples of each class there are, shape (num_classes,); masks have no such counts."""
        if self.pool.y.ndim != 1:
            raise ValueError("class counts are asked for, and masks (segmentation) have none")
        labels = self.pool.y[torch.from_numpy(self.rows.copy()).to(self.pool.device)].cpu().numpy()
        return np.bincount(labels, minlength=num_classes).astype(np.int64)


@dataclass(frozen=True)
class ByClient:
    """Rows that belong to several clients, each treated as its client's rows are.

    Attributes
    ----------
    each : mapping of int to callable
        What is done to the batch of one client: ``each[client](x, rows)``, of the same shape.
    clients : ndarray, shape (n,)
        Client of each row of the pool.
    """

    each: Mapping[int, Callable[[Tensor, NDArray[np.int64]], Tensor]]
    clients: NDArray[np.int64]

    def __call__(self, x: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Return the batch ``x`` (b, ...), every row treated as its client's are."""
        result = x.clone()
        owner = self.clients[rows]
        for client in np.unique(owner).tolist():
            chosen = np.flatnonzero(owner == client)
            index = torch.from_numpy(chosen).to(x.device)
            result[index] = self.each[client](x[index], rows[chosen])
        return result


@dataclass(frozen=True)
class ClientData:
    """Everything one client holds."""

    key: str
    train: Split
    validation: Split
    test: Split


def _tensor(array: NDArray[np.generic]) -> Tensor:
    with warnings.catch_warnings():
        # Memory shared between processes is read-only, which torch warns about; nothing here writes to it.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(np.ascontiguousarray(array))


def _per_channel(values: Sequence[float], x: Tensor) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32).view(-1, *([1] * (x.ndim - 2)))
