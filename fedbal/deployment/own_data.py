"""The data of a site: read from its own disk as the scenario says, checked, divided as in a simulation."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fedbal.data import DATASETS
from fedbal.data.dataset import Dataset, IntArray, Request
from fedbal.data.federation import Federation, Shards
from fedbal.data.groups import group_ids, split_groups
from fedbal.data.params import DataBlock, NaturalIdParams, RowsData
from fedbal.data.splits import TEST, TRAIN, VALIDATION, split
from fedbal.deployment.order import Seat
from fedbal.errors import UsageError
from fedbal.scenario import Scenario

_DRAWN = ("long_tail", "train_rows", "quantity", "feature_shift", "label_noise")
"""Keys of ``data`` that change rows of a simulation; a site's rows are what they are."""
_SHOWN = 5


class OwnData:
    """A site's own rows.

    Parameters
    ----------
    scenario : Scenario
        Says how they are read; its ``data.path`` is not looked at.
    path : Path
        Image folder, CSV, Parquet or NPZ.
    """

    def __init__(self, scenario: Scenario, path: Path) -> None:
        block = scenario.data
        assert isinstance(block, DataBlock)
        self._block = block
        self._path = path
        self._seed = scenario.seed.partition

    @cached_property
    def dataset(self) -> Dataset:
        """All rows of the site, those that it calls test rows among them.

        Raises
        ------
        UsageError
            The scenario's data set cannot be read from a place of one's own, or what is there does not fit it.
        RunError
            A file is damaged.
        """
        block, source = self._block, str(type(self._block).model_fields["dataset"].default)
        if not isinstance(block, RowsData):
            raise UsageError(
                f"--data: the scenario's data set is {source}, which every site has; only table, folder and "
                "huggingface can be read from a site's own disk. Leave --data out, or ask for another scenario."
            )
        drawn = [key for key in _DRAWN if getattr(block, key) is not None]
        if drawn:
            raise UsageError(
                f"--data: the scenario changes its rows (data.{drawn[0]}), which is for simulations; take it out."
            )
        column = block.partition.partition_by if isinstance(block.partition, NaturalIdParams) else None
        request = Request(self._seed, None, column, group=block.group, allow_missing=self._missing)
        values = {**block.source_kwargs(), "path": str(self._path)}
        found: Dataset = DATASETS.load(source)(request, **values)
        return _together(found)

    @property
    def _missing(self) -> bool:
        return self._block.preprocess is not None and self._block.preprocess.impute != "none"

    def described(self) -> dict[str, Any]:
        """Return what a coordinator must know to choose classes and model: no row, no count of a class."""
        data = self.dataset
        return {
            "classes": data.classes,
            "features": data.features,
            "shape": data.input_shape,
            "dtype": str(data.x.dtype),
            "samples": len(data.y),
        }


def own_federation(own: OwnData, seat: Seat, name: str, scenario: Scenario) -> Federation:
    """Return a site's rows as a federation of one client, its labels in the order of the seat's classes.

    Parameters
    ----------
    own : OwnData
        The rows.
    seat : Seat
        Classes, columns and shape that the run has.
    name : str
        The site's name, the key of its client.
    scenario : Scenario
        Gives the shares of validation and test rows.

    Raises
    ------
    UsageError
        Classes, columns or shape are not those of the run.
    """
    block, data = scenario.data, own.dataset
    assert isinstance(block, RowsData)
    where = f"--data {data.source}"
    _require_same("columns", where, data.features, seat.features)
    if tuple(data.input_shape) != tuple(seat.shape):
        raise UsageError(
            f"{where}: one input has shape {data.input_shape}, in this run {tuple(seat.shape)}; store it alike."
        )
    strange = [one for one in data.classes if one not in seat.classes and _rows_of(data, one)]
    if strange:
        raise UsageError(
            f"{where}: class {_listed(strange)} is none of this run, which has {_listed(seat.classes)}; rename or "
            "remove it, or add it to data.classes of the scenario."
        )
    position = np.array([_index(seat.classes, one) for one in data.classes], np.int64)
    labelled = replace(data, y=position[data.y], classes=tuple(seat.classes))
    part = _parts(labelled, block, scenario.seed.partition)
    rows, owner = np.arange(len(labelled.y)), np.zeros(len(labelled.y), np.int64)
    train, validation, test = (
        Shards.grouped(owner[part == kind], rows[part == kind], 1) for kind in (TRAIN, VALIDATION, TEST)
    )
    return Federation(labelled, train, validation, test, (name,))


def _together(data: Dataset) -> Dataset:
    """Return all rows of a site as rows of its own: the global test set of a run is not a site's."""
    columns = {
        key: np.concatenate([values, data.test_columns[key]])
        for key, values in data.columns.items()
        if key in data.test_columns
    }
    return replace(
        data,
        x=np.concatenate([data.x, data.x_test]),
        y=np.concatenate([data.y, data.y_test]),
        x_test=data.x_test[:0],
        y_test=data.y_test[:0],
        columns=columns,
        test_columns={},
    )


def _parts(data: Dataset, block: RowsData, seed: int) -> IntArray:
    owner, shares = (
        np.zeros(len(data.y), np.int64),
        {"validation": block.validation, "test": block.client_test},
    )
    if block.group is None:
        return split(owner, data.strata, data.num_classes, **shares, seed=seed)
    if block.group not in data.columns:
        raise UsageError(f"data.group: {data.source} has no column {block.group!r} for every row.")
    groups = group_ids(data, block.group)
    return split_groups(owner, data.strata, groups, data.num_classes, **shares, seed=seed, unseen=())


def _rows_of(data: Dataset, name: str) -> int:
    return int((data.y == data.classes.index(name)).sum())


def _index(classes: tuple[str, ...], name: str) -> int:
    return classes.index(name) if name in classes else 0


def _require_same(what: str, where: str, own: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    if tuple(own) == tuple(wanted):
        return
    missing = [name for name in wanted if name not in own]
    more = [name for name in own if name not in wanted]
    parts = [f"{_listed(missing)} is missing"] if missing else []
    parts += [f"{_listed(more)} is not of this run"] if more else []
    parts = parts or [f"the order is {_listed(own)}, in this run {_listed(wanted)}"]
    raise UsageError(
        f"{where}: {what}: {'; '.join(parts)}. Store the same {what}, or name them in data.features."
    )


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(str(name)) for name in names[:_SHOWN]) + more
