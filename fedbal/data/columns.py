"""A column of client ids: names, and the position of each row's name."""

from __future__ import annotations

import numpy as np

from fedbal.data.dataset import AnyArray, IntArray
from fedbal.errors import UsageError


def identities(column: AnyArray, name: str, role: str = "client") -> tuple[tuple[str, ...], IntArray]:
    """Return the distinct values as client keys, sorted, and the position of each row's value.

    Parameters
    ----------
    column : numpy.ndarray
        ``(n,)`` integers, whole floats, booleans or strings.
    name : str
        The column's name, for messages.
    role : str
        What the values name, for messages.

    Raises
    ------
    UsageError
        A value is missing or not whole.
    """
    kind = column.dtype.kind
    if kind == "f":
        missing = int(np.count_nonzero(~np.isfinite(column)))
        if missing:
            raise UsageError(
                f"column {name!r} misses the {role} of {missing} rows; fill them in or drop them."
            )
        if np.any(column != np.rint(column)):
            raise UsageError(f"column {name!r} holds fractions; {role} ids are whole numbers or names.")
        column = column.astype(np.int64)
    elif kind == "U":
        missing = int(np.count_nonzero(np.char.strip(column) == ""))
        if missing:
            raise UsageError(
                f"column {name!r} misses the {role} of {missing} rows; fill them in or drop them."
            )
    elif kind not in "iub":
        raise UsageError(f"column {name!r} has type {column.dtype}; {role} ids are whole numbers or names.")
    values, owner = np.unique(column, return_inverse=True)
    return tuple(map(str, values.tolist())), owner.astype(np.int64)
