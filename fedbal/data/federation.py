"""A federation: one data set and, per client, the rows it trains on, validates on and is reported on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fedbal.data import DATASETS, PARTITIONS, QUANTITIES
from fedbal.data.columns import identities
from fedbal.data.dataset import Dataset, FloatArray, IntArray, Request
from fedbal.data.groups import Grouping, assign_whole, group_ids, record, split_groups
from fedbal.data.holdout import held_out
from fedbal.data.label_noise import noisy_labels
from fedbal.data.long_tail import long_tail
from fedbal.data.params import DataBlock, NaturalIdParams, RowsData
from fedbal.data.partitions.base import Assignment, Pool
from fedbal.data.row_params import LabelNoiseParams, ShiftParams
from fedbal.data.shift import ClientShift, draw_shift
from fedbal.data.splits import TEST, TRAIN, VALIDATION, split
from fedbal.data.subset import subset
from fedbal.errors import UsageError
from fedbal.seeding import stream

BLOCK = 1 << 20
"""Rows that are counted at a time: temporary arrays stay small and in the cache."""
CLIENTS_AT_ONCE = 1 << 14
"""Clients that are described at a time, for the same reason."""


@dataclass(frozen=True)
class Shards:
    """Row lists of all clients in two arrays: client k has ``indices[offsets[k]:offsets[k + 1]]``.

    Attributes
    ----------
    indices : numpy.ndarray
        ``(m,)`` int64 rows of the training data, ascending within a client.
    offsets : numpy.ndarray
        ``(clients + 1,)`` int64, from 0 to m.
    """

    indices: IntArray
    offsets: IntArray

    def of(self, client: int) -> IntArray:
        """Return the rows of one client, a view."""
        return self.indices[self.offsets[client] : self.offsets[client + 1]]

    @property
    def sizes(self) -> IntArray:
        """Number of rows of each client, ``(clients,)``."""
        return np.diff(self.offsets)

    @classmethod
    def grouped(cls, owner: IntArray, rows: IntArray, clients: int) -> Shards:
        """Group ascending rows by their owner, both ``(m,)``."""
        offsets = np.zeros(clients + 1, dtype=np.int64)
        np.cumsum(np.bincount(owner, minlength=clients), out=offsets[1:])
        return cls(rows[np.argsort(owner, kind="stable")], offsets)


@dataclass(frozen=True)
class Federation:
    """A data set divided over clients; every kept row is in exactly one of the three lists."""

    dataset: Dataset
    train: Shards
    validation: Shards
    client_test: Shards
    names: Sequence[str]
    """Client keys: the natural name, or the position as a string."""
    unseen: tuple[int, ...] = ()
    """Clients that never train; all their rows are client test rows."""
    shift: ClientShift | None = None
    """Feature shift of each client."""
    label_noise: FloatArray | None = None
    """``(clients,)`` realised share of wrong training labels."""
    clean_y: IntArray | None = None
    """True labels of all rows where those of the data set are noisy."""
    test_owner: IntArray | None = None
    """Client of each global test row where the data know it, -1 for one that holds no other rows."""
    grouping: Grouping | None = None
    """What keeping groups whole did to the shares, with ``data.group``."""
    origin: str | None = None
    """Fingerprint of the federation whose rows were given to other holders, split by split."""

    @property
    def num_clients(self) -> int:
        """Number of clients, those without data included."""
        return len(self.names)

    @property
    def counted_classes(self) -> tuple[str, ...]:
        """Classes that rows are counted by; none where rows are masks."""
        return () if self.dataset.target_shape else self.dataset.classes

    def foreground(self) -> FloatArray | None:
        """Return the share of foreground pixels in each client's training masks, ``(clients,)``; None for classes.

        A client without training rows has 0.
        """
        if not self.dataset.target_shape:
            return None
        shares = (self.dataset.y != 0).mean(axis=(1, 2))
        owner = np.repeat(np.arange(self.num_clients), self.train.sizes)
        sums = np.bincount(owner, weights=shares[self.train.indices], minlength=self.num_clients)
        found: FloatArray = sums / np.maximum(self.train.sizes, 1)
        return found

    def label_counts(self, *, clean: bool = False) -> IntArray:
        """Return the training rows per client and class, ``(clients, classes)``; ``(clients, 0)`` for masks.

        With label noise they are what the clients see, or, if ``clean``, what is true.
        """
        if self.dataset.target_shape:
            return np.zeros((self.num_clients, 0), np.int64)
        classes, offsets = self.dataset.num_classes, self.train.offsets
        labels = self._labels(clean)
        counts: IntArray = np.zeros((self.num_clients, classes), np.int64)
        first = 0
        while first < self.num_clients:
            # Whole clients, at least one of them.
            last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + BLOCK, "right")) - 1)
            owner = np.repeat(np.arange(last - first), np.diff(offsets[first : last + 1]))
            found = labels[self.train.indices[offsets[first] : offsets[last]]]
            flat = np.bincount(owner * classes + found, minlength=(last - first) * classes)
            counts[first:last] = flat.reshape(last - first, classes)
            first = last
        return counts

    def class_counts(self, *, clean: bool = False) -> IntArray:
        """Return the training rows of each class over all clients, ``(classes,)``; ``clean`` as above."""
        if self.dataset.target_shape:
            return np.zeros(0, np.int64)
        labels, rows = self._labels(clean), self.train.indices
        counts: IntArray = np.zeros(self.dataset.num_classes, np.int64)
        for first in range(0, len(rows), BLOCK):
            counts += np.bincount(labels[rows[first : first + BLOCK]], minlength=len(counts))
        return counts

    def _labels(self, clean: bool) -> IntArray:
        return self.clean_y if clean and self.clean_y is not None else self.dataset.y

    def fingerprint(self) -> str:
        """Return a SHA-256 over the data, the client keys and every index list.

        Where the same rows were only given to other holders, it is that of the original, so that runs on the two
        are pairs.
        """
        return self._fingerprint if self.origin is None else self.origin

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self.dataset.fingerprint().encode())
        for first in range(0, len(self.names), CLIENTS_AT_ONCE):
            names = "\x1f".join(self.names[first : first + CLIENTS_AT_ONCE])
            digest.update(("\x1f" * (first > 0) + names).encode())
        for shards in (self.train, self.validation, self.client_test):
            for array in (shards.offsets, shards.indices):
                digest.update(np.ascontiguousarray(array).data)
        if self.shift is not None:
            digest.update(self.shift.decides())
        return digest.hexdigest()


def load_federation(block: DataBlock, seed: int, *, base: Path | None = None) -> Federation:
    """Load the data, apply the long tail, divide it over clients, split every client's rows.

    Parameters
    ----------
    block : DataBlock
        A validated ``data`` block.
    seed : int
        Partition seed. Each axis draws from its own streams: changing one leaves the others' draws alone.
    base : Path, optional
        Folder that relative paths start from, then the current folder.

    Raises
    ------
    UsageError
        Something in the block cannot be met; the message says what could be.
    RunError
        A file is damaged or cannot be downloaded.
    """
    partition = block.partition
    column = partition.partition_by if isinstance(partition, NaturalIdParams) else None
    group = block.group if isinstance(block, RowsData) else None
    source = str(block.__class__.model_fields["dataset"].default)
    dataset: Dataset = DATASETS.load(source)(
        Request(seed, base, column, group=group, allow_missing=_imputes(block)), **block.source_kwargs()
    )
    if not len(dataset.y):
        raise UsageError(f"{source} has no training rows.")
    rows: IntArray = np.arange(len(dataset.y))
    if block.long_tail is not None:
        rows = long_tail(dataset.y, dataset.classes, seed=seed, **block.long_tail.kwargs())
    if block.train_rows is not None:
        rows = rows[subset(dataset.strata[rows], block.train_rows, seed)]
    kwargs: dict[str, Any] = partition.kwargs()
    if block.quantity is not None:
        profile = QUANTITIES.load(block.quantity.name)
        kwargs["proportions"] = profile(
            kwargs["clients"], stream(seed, "quantity", block.quantity.name), **block.quantity.kwargs()
        )
    pool, divide = Pool(dataset, rows, seed), PARTITIONS.load(partition.name)
    groups = None if group is None else group_ids(dataset, group)[rows]
    assignment: Assignment
    if groups is None or column is not None:
        assignment = divide(pool, **kwargs)
    else:
        assignment = assign_whole(pool, groups, divide, **kwargs)
    sizes = np.bincount(assignment.owner, minlength=len(assignment.names))
    unseen = tuple(held_out(block.holdout_clients, assignment.names, sizes, seed))
    part = _split(block, assignment.owner, dataset, rows, groups, unseen, seed)
    clients = len(assignment.names)
    train, validation, test = (
        Shards.grouped(assignment.owner[part == kind], rows[part == kind], clients)
        for kind in (TRAIN, VALIDATION, TEST)
    )
    federation = Federation(dataset, train, validation, test, assignment.names, unseen)
    by_client = block.preprocess is not None and block.preprocess.fit == "client"
    if by_client and column in dataset.test_columns:
        owner = _test_owner(dataset, str(column), assignment.names)
        federation = replace(federation, test_owner=owner)
    if group is not None and groups is not None:
        trains = ~np.isin(assignment.owner, unseen)
        grouping = record(group, groups[trains], part[trains], len(dataset.y), len(dataset.y_test))
        federation = replace(federation, grouping=grouping)
    federation = _with_noise(_as_drawn(federation), block.label_noise, seed)
    return _shifted(federation, block.feature_shift, seed)


def _split(
    block: DataBlock,
    owner: IntArray,
    dataset: Dataset,
    rows: IntArray,
    groups: IntArray | None,
    unseen: tuple[int, ...],
    seed: int,
) -> IntArray:
    """Mark each row as TRAIN, VALIDATION or TEST; all rows of unseen clients are TEST."""
    labels, classes = dataset.strata[rows], dataset.num_classes
    if groups is None:
        part = split(owner, labels, classes, validation=block.validation, test=block.client_test, seed=seed)
    else:
        shares = {"validation": block.validation, "test": block.client_test}
        part = split_groups(owner, labels, groups, classes, **shares, seed=seed, unseen=unseen)
    part[np.isin(owner, unseen)] = TEST
    return part


def _as_drawn(federation: Federation) -> Federation:
    """Let clients train and validate on the labels that were drawn; they are reported on with the true ones."""
    dataset = federation.dataset
    if dataset.drawn_y is None:
        return federation
    labels = dataset.drawn_y.copy()
    labels[federation.client_test.indices] = dataset.y[federation.client_test.indices]
    return replace(federation, dataset=replace(dataset, y=labels, drawn_y=None), clean_y=dataset.y)


def _imputes(block: DataBlock) -> bool:
    return block.preprocess is not None and block.preprocess.impute != "none"


def _test_owner(dataset: Dataset, column: str, names: Sequence[str]) -> IntArray:
    """Return the client of each global test row, -1 for one that holds no other rows."""
    position = {name: client for client, name in enumerate(names)}
    found, owner = identities(dataset.test_columns[column], column)
    clients: IntArray = np.array([position.get(name, -1) for name in found], np.int64)[owner]
    return clients


def _with_noise(federation: Federation, noise: LabelNoiseParams | None, seed: int) -> Federation:
    if noise is None:
        return federation
    kwargs = noise.kwargs()
    train, validation, labels = federation.train, federation.validation, federation.dataset.y
    also = kwargs.pop("validation")
    clients = range(federation.num_clients)
    rows = [
        np.r_[train.of(client), validation.of(client)] if also else train.of(client) for client in clients
    ]
    noisy = noisy_labels(labels, rows, federation.names, federation.dataset.num_classes, seed=seed, **kwargs)
    wrong = noisy != labels
    realised = np.array([wrong[train.of(client)].sum() for client in clients]) / np.maximum(train.sizes, 1)
    return replace(
        federation, dataset=replace(federation.dataset, y=noisy), label_noise=realised, clean_y=labels
    )


def _shifted(federation: Federation, shift: ShiftParams | None, seed: int) -> Federation:
    if shift is None:
        return federation
    name, shape = shift.name, federation.dataset.input_shape
    drawn = draw_shift(name, federation.names, shape, seed, **shift.bounds(), global_test=shift.global_test)
    return replace(federation, shift=drawn)
