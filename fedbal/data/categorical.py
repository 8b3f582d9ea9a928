"""Named columns as numbers: numeric ones as they are, categories one-hot, one feature ``column=level`` a level.

A column of texts or booleans is categorical; a column of numbers is when it is named so. Levels are sorted, numbers
by size. What is missing stays NaN, in every feature of its column, so that it is counted and refused; where missing
values are allowed, a category has one more level, ``missing``, if a row lacks it. A level that the rows which made
the list did not have is an error, unless the list has the level ``other``: then it is that one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedbal.data.dataset import AnyArray, FloatArray
from fedbal.data.table_columns import MISSING, numbers
from fedbal.errors import UsageError
from fedbal.registry import unknown_name

MOST_LEVELS = 64
"""Levels up to which texts are taken for a category without being named as one."""
ABSENT, OTHER = "missing", "other"
Categories = Sequence[str] | Mapping[str, Sequence[str]]
_SHOWN = 20


@dataclass(frozen=True)
class Column:
    """How one column becomes features."""

    name: str
    levels: tuple[str, ...] | None = None
    """Of a category; None for numbers."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of its features."""
        if self.levels is None:
            return (self.name,)
        return tuple(f"{self.name}={level}" for level in self.levels)

    def encode(self, values: AnyArray, where: str) -> FloatArray:
        """Return ``(n, features)``, NaN where the value is missing.

        Raises
        ------
        UsageError
            Texts stand where numbers are needed, or a level is not in the list.
        """
        if self.levels is None:
            found = numbers(values)
            if found is None:
                raise UsageError(f"{where}: column {self.name!r} is not numeric.")
            return found[:, None]
        labels, absent = texts(values)
        index = {level: position for position, level in enumerate(self.levels)}
        fallback = index.get(OTHER, -1)
        distinct, place = np.unique(labels, return_inverse=True)
        code = np.array([index.get(str(level), fallback) for level in distinct], dtype=np.int64)[place]
        strange = np.flatnonzero((code < 0) & ~absent)
        if len(strange):
            raise UsageError(
                f"{where}: column {self.name!r} holds {str(labels[strange[0]])!r}, which is none of its levels "
                f"{', '.join(self.levels[:_SHOWN])}; list all levels under data.categorical, or {OTHER!r} among "
                "them for the rest."
            )
        code[absent] = index.get(ABSENT, -1)
        result = np.zeros((len(values), len(self.levels)))
        result[np.arange(len(values)), np.maximum(code, 0)] = 1.0
        result[code < 0] = np.nan
        return result


def plan(
    columns: Mapping[str, AnyArray],
    chosen: Sequence[str],
    categorical: Categories | None,
    where: str,
    *,
    allow_missing: bool = False,
) -> tuple[Column, ...]:
    """Decide how columns become features.

    Parameters
    ----------
    columns : Mapping
        Name to ``(n,)`` values.
    chosen : sequence of str
        Columns to learn from.
    categorical : sequence of str or Mapping, optional
        Columns that are categories whatever they hold, perhaps with the list of their levels.
    where : str
        File, for messages.
    allow_missing : bool
        Whether a missing category is a level of its own.

    Raises
    ------
    UsageError
        A name is no column, a list repeats a level, or texts have too many levels to be a category.
    """
    named = dict(categorical) if isinstance(categorical, Mapping) else dict.fromkeys(categorical or (), ())
    for name in named:
        if name not in columns:
            raise UsageError(f"{where}: {unknown_name('categorical column', name, columns)}")
    result = []
    for name in chosen:
        values = columns[name]
        if name not in named and values.dtype.kind != "b" and numbers(values) is not None:
            result.append(Column(name))
            continue
        labels, absent = texts(values)
        levels = list(named.get(name) or sorted(set(labels[~absent].tolist()), key=_order))
        if len(set(levels)) < len(levels):
            raise UsageError(f"{where}: data.categorical lists a level of {name!r} twice.")
        if name not in named and len(levels) > MOST_LEVELS:
            raise UsageError(
                f"{where}: column {name!r} holds {len(levels)} different texts, such as {levels[0]!r}; list it "
                "under data.drop, or under data.categorical if these are categories."
            )
        if allow_missing and absent.any() and ABSENT not in levels:
            levels.append(ABSENT)
        result.append(Column(name, tuple(levels)))
    return tuple(result)


def encode(columns: Mapping[str, AnyArray], how: Sequence[Column], where: str) -> FloatArray:
    """Return ``(n, features)`` by a plan."""
    return np.concatenate([column.encode(columns[column.name], where) for column in how], axis=1)


def features(how: Sequence[Column]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of all features of a plan, and the column each comes from."""
    names = tuple(name for column in how for name in column.features)
    return names, tuple(column.name for column in how for _ in column.features)


def plan_of_features(names: Sequence[str], columns: Mapping[str, AnyArray]) -> tuple[Column, ...]:
    """Rebuild a plan from the names of its features: how rows from elsewhere fit a model that is trained.

    Parameters
    ----------
    names : sequence of str
        As :func:`features` gives them.
    columns : Mapping
        The columns that there are; a feature of none of them is taken for a number, so that it is missed by name.
    """
    found: dict[str, list[str] | None] = {}
    for name in names:
        cuts = [match.start() for match in re.finditer("=", name)]
        owner = next((name[:cut] for cut in cuts if name not in columns and name[:cut] in columns), None)
        if owner is None:
            found[name] = None
        else:
            levels = found.setdefault(owner, [])
            if levels is not None:
                levels.append(name[len(owner) + 1 :])
    return tuple(Column(name, None if levels is None else tuple(levels)) for name, levels in found.items())


def texts(column: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return a column as texts, whole numbers without a point, and which values are missing."""
    if column.dtype.kind == "f":
        absent = np.isnan(column)
        whole = np.where(absent, 0.0, column)
        written = [str(int(value)) if value.is_integer() else repr(value) for value in whole.tolist()]
        return np.array(written, dtype=np.str_), absent
    labels = np.char.strip(column.astype(np.str_))
    if column.dtype.kind != "U":
        return labels, np.zeros(len(labels), dtype=np.bool_)
    return labels, np.isin(np.char.lower(labels), MISSING)


def _order(level: str) -> tuple[bool, float, str]:
    try:
        return False, float(level), level
    except ValueError:
        return True, 0.0, level
