"""Groups of rows that belong together (a patient, a lesion, overlapping windows) and stay on one side of a split.

Groups are lined up by client and majority class, at random within, and taken where that brings the running share
nearest to the wanted one, from a random start; then single groups are added or given back while that comes nearer
to round(share * n) rows. So the share is met up to half the largest group, unless clients would be left without
training rows. A group with rows at several natural clients is on the same side at all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedbal.data.columns import identities
from fedbal.data.dataset import Dataset, IntArray
from fedbal.data.partitions.base import Assignment, Pool
from fedbal.data.splits import TEST, TRAIN, VALIDATION
from fedbal.errors import UsageError
from fedbal.registry import unknown_name
from fedbal.seeding import stream


@dataclass(frozen=True)
class Grouping:
    """What keeping groups whole did to the shares of the rows.

    Attributes
    ----------
    column : str
        The column.
    groups, largest : int
        Number of groups among the rows of clients that train, and rows of the largest.
    realised : dict of str to float
        Share in [0, 1] of ``validation`` and ``client_test`` in the rows of clients that train, and of ``test`` in
        all rows of the data.
    """

    column: str
    groups: int
    largest: int
    realised: dict[str, float]


def record(column: str, groups: IntArray, part: IntArray, rows: int, test_rows: int) -> Grouping:
    """Measure the shares that came out.

    Parameters
    ----------
    column : str
        The column.
    groups, part : numpy.ndarray
        ``(n,)`` group and side of each row.
    rows, test_rows : int
        Training and global test rows of the data.
    """
    sizes = np.bincount(groups)
    shares = {
        "validation": float(np.mean(part == VALIDATION)) if len(part) else 0.0,
        "client_test": float(np.mean(part == TEST)) if len(part) else 0.0,
        "test": test_rows / (rows + test_rows),
    }
    return Grouping(column, int(np.count_nonzero(sizes)), int(sizes.max(initial=0)), shares)


def group_ids(dataset: Dataset, column: str) -> IntArray:
    """Return the group of each training row, ``(n,)`` from 0.

    Raises
    ------
    UsageError
        There is no such column, or a value is missing.
    """
    if column not in dataset.columns:
        if not dataset.columns:
            raise UsageError(
                f"data.group: {dataset.name} has no column {column!r}, nor any other beside features."
            )
        raise UsageError(f"data.group: {unknown_name('column', column, dataset.columns)}")
    return identities(dataset.columns[column], column, "group")[1]


def assign_whole(
    pool: Pool, groups: IntArray, divide: Callable[..., Assignment], **kwargs: Any
) -> Assignment:
    """Divide groups instead of rows: each counts as one row of its majority class.

    Parameters
    ----------
    pool : Pool
        The rows.
    groups : numpy.ndarray
        ``(n,)`` group of each row.
    divide : callable
        A partition; sizes and minima that it knows are counted in groups.
    """
    key = groups * pool.dataset.num_classes + pool.labels
    distinct, first, count = np.unique(key, return_index=True, return_counts=True)
    owner = distinct // pool.dataset.num_classes
    best = np.lexsort((distinct, -count, owner))
    leads = first[best[np.searchsorted(owner[best], np.unique(owner))]]
    order = np.argsort(leads)
    whole = divide(Pool(pool.dataset, pool.rows[leads[order]], pool.seed), **kwargs)
    client = np.zeros(int(groups.max(initial=-1)) + 1, dtype=np.int64)
    client[groups[leads[order]]] = whole.owner
    return Assignment(client[groups], whole.names)


def hold_out_groups(
    owner: IntArray, labels: IntArray, groups: IntArray, num_classes: int, *, share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Choose whole groups as global test set, about round(share * n) rows.

    Parameters
    ----------
    owner, labels, groups : numpy.ndarray
        ``(n,)``, the client (all 0 where there are no natural ones), class and group of each row.
    num_classes : int
        Classes in all.
    share : float
        In (0, 1).
    seed : int
        Partition seed.

    Returns
    -------
    numpy.ndarray
        ``(n,)``, True for test rows: at least one group, however large. No client loses its last row.
    """
    table = _Table(owner, labels, groups, num_classes, stream(seed, "test", "groups"))
    rng = stream(seed, "test", "group-start")
    rows, target = table.size[table.order].tolist(), round(share * len(owner))
    table.choose(table.order, rows, target, TEST, rng)
    if target and not np.any(table.side == TEST):
        # Nearest to the share is none, but a test set must be.
        smallest = sorted(zip(rows, table.order, strict=True))
        for group in [group for _, group in smallest if table.free(group)][:1]:
            table.take(group, TEST)
    mask: npt.NDArray[np.bool_] = table.side[groups] == TEST
    return mask


def split_groups(
    owner: IntArray,
    labels: IntArray,
    groups: IntArray,
    num_classes: int,
    *,
    validation: float,
    test: float,
    seed: int,
    unseen: Sequence[int] = (),
) -> IntArray:
    """Mark every row as TRAIN, VALIDATION or TEST, whole groups at a time, by each client's shares.

    Parameters
    ----------
    owner, labels, groups : numpy.ndarray
        ``(n,)``, the client, class and group of each row.
    num_classes : int
        Classes in all.
    validation, test : float
        Shares in [0, 1), together below 1. The test rows do not depend on the validation share.
    seed : int
        Partition seed.
    unseen : sequence of int
        Clients that never train: their groups are TEST at every client.

    Returns
    -------
    numpy.ndarray
        ``(n,)``. A client keeps a row to train on, unless all its groups belong to unseen clients too.
    """
    table = _Table(owner, labels, groups, num_classes, stream(seed, "client-split", "groups"))
    for group in np.unique(groups[np.isin(owner, np.asarray(unseen, dtype=np.int64))]).tolist():
        table.take(group, TEST)
    for kind, share, name in ((TEST, test, "group-test"), (VALIDATION, validation, "group-validation")):
        rng = stream(seed, "client-split", name)
        for client, members in enumerate(table.members):
            if client in unseen or not members:
                continue
            rows = [table.held[group][client] for group in members]
            already = sum(
                size for group, size in zip(members, rows, strict=True) if table.side[group] == kind
            )
            free = [index for index, group in enumerate(members) if table.side[group] == TRAIN]
            table.choose(
                [members[index] for index in free],
                [rows[index] for index in free],
                round(share * sum(rows)) - already,
                kind,
                rng,
            )
    return table.side[groups]


class _Table:
    """The groups, who holds how many rows of each, and the side each is on."""

    def __init__(
        self, owner: IntArray, labels: IntArray, groups: IntArray, classes: int, rng: np.random.Generator
    ) -> None:
        count = int(groups.max(initial=-1)) + 1
        clients = int(owner.max(initial=-1)) + 1
        self.size = np.bincount(groups, minlength=count)
        self.side = np.full(count, TRAIN, dtype=np.int64)
        self.left = np.bincount(owner, minlength=clients).tolist()
        self.held: list[dict[int, int]] = [{} for _ in range(count)]
        pairs, rows = np.unique(groups * max(clients, 1) + owner, return_counts=True)
        for pair, size in zip(pairs.tolist(), rows.tolist(), strict=True):
            self.held[pair // clients][pair % clients] = size
        majority = _most_common(groups, labels, count, classes)
        home = _most_common(groups, owner, count, clients)
        shuffled = rng.permutation(count)
        stratum = (home * classes + majority)[shuffled]
        order = shuffled[np.argsort(stratum, kind="stable")]
        self.order: list[int] = order[self.size[order] > 0].tolist()
        by_class = shuffled[np.argsort(majority[shuffled], kind="stable")]
        self.members: list[list[int]] = [[] for _ in range(clients)]
        for group in by_class.tolist():
            for client in self.held[group]:
                self.members[client].append(group)

    def take(self, group: int, kind: int) -> None:
        self.side[group] = kind
        for client, size in self.held[group].items():
            self.left[client] -= size

    def give_back(self, group: int) -> None:
        self.side[group] = TRAIN
        for client, size in self.held[group].items():
            self.left[client] += size

    def free(self, group: int) -> bool:
        """Tell whether every client that holds the group has other rows to train on."""
        return all(self.left[client] > size for client, size in self.held[group].items())

    def choose(
        self, units: Sequence[int], rows: Sequence[int], target: int, kind: int, rng: np.random.Generator
    ) -> None:
        """Move groups that hold about ``target`` of these rows to one side."""
        total = sum(rows)
        if target <= 0 or not total:
            return
        share = target / total
        error = (float(rng.random()) - 0.5) * total / len(rows)
        taken = 0
        for group, size in zip(units, rows, strict=True):
            error -= share * size
            if abs(error + size) < abs(error) and self.free(group):
                self.take(group, kind)
                error += size
                taken += size
        order = rng.permutation(len(units)).tolist()
        while taken != target:
            gap, best = abs(target - taken), -1
            for index in order:
                chosen = self.side[units[index]] == kind
                after = abs(target - taken - (-rows[index] if chosen else rows[index]))
                if after < gap and (chosen or self.free(units[index])):
                    gap, best = after, index
            if best < 0:
                break
            if self.side[units[best]] == kind:
                self.give_back(units[best])
                taken -= rows[best]
            else:
                self.take(units[best], kind)
                taken += rows[best]


def _most_common(groups: IntArray, values: IntArray, count: int, kinds: int) -> IntArray:
    """Return the most common value of each group, the lowest where several are."""
    result = np.zeros(count, dtype=np.int64)
    pairs, rows = np.unique(groups * max(kinds, 1) + values, return_counts=True)
    group, value = pairs // max(kinds, 1), pairs % max(kinds, 1)
    order = np.lexsort((-value, rows, group))
    result[group[order]] = value[order]
    return result
