"""Labels of a user's table: whole numbers from 0, or names; anything else is refused with what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedbal.data.dataset import AnyArray, IntArray
from fedbal.errors import UsageError


def encode(
    y: AnyArray, y_test: AnyArray | None, classes: Sequence[str] | None, where: str
) -> tuple[IntArray, IntArray | None, tuple[str, ...]]:
    """Turn labels into 0 .. C - 1.

    Names become the sorted class names. Whole numbers that are not exactly 0 .. C - 1 are names too: the
    classes are then called by their numbers.

    Parameters
    ----------
    y, y_test : numpy.ndarray
        ``(n,)`` raw labels of training and test rows; no test rows: None.
    classes : sequence of str, optional
        Class names in label order. Labels are then these names, or positions among them.
    where : str
        File and label name, for messages.

    Returns
    -------
    tuple
        Training labels, test labels, class names.

    Raises
    ------
    UsageError
        Labels are missing, fractions, negative, out of range, unknown names, or all the same.
    """
    parts = [y] if y_test is None else [y, y_test]
    values = np.concatenate([_clean(part, where) for part in parts])
    distinct, position = np.unique(values, return_inverse=True)
    texts = [str(value) for value in distinct.tolist()]
    if classes is None:
        names = tuple(texts)
        code: IntArray = np.arange(len(texts))
    else:
        names = tuple(classes)
        code = _codes(distinct, texts, names, where)
    if len(names) < 2:
        raise UsageError(f"{where}: all labels are {texts[0]!r}; a classifier needs at least two classes.")
    encoded = code[position]
    test = None if y_test is None else encoded[len(y) :]
    return encoded[: len(y)], test, names


def positions(
    y: AnyArray, y_test: AnyArray | None, classes: Sequence[str], where: str
) -> tuple[IntArray, IntArray | None, tuple[str, ...]]:
    """Check labels that are positions among known classes, whatever these are called.

    Parameters and results are those of :func:`encode`.

    Raises
    ------
    UsageError
        Labels are missing or out of range.
    """
    parts: list[IntArray] = [_clean(part, where) for part in (y, y_test) if part is not None]
    for part in parts:
        if len(part) and part.max() >= len(classes):
            raise UsageError(
                f"{where}: label {part.max()} is out of range; {len(classes)} classes have labels 0 to "
                f"{len(classes) - 1}."
            )
    return parts[0], None if y_test is None else parts[1], tuple(classes)


def _codes(distinct: AnyArray, texts: list[str], names: tuple[str, ...], where: str) -> IntArray:
    if len(set(names)) < len(names):
        raise UsageError(f"{where}: the class names {', '.join(names)} are not distinct.")
    unknown = [text for text in texts if text not in names]
    if not unknown:
        return np.array([names.index(text) for text in texts], dtype=np.int64)
    if distinct.dtype.kind != "i":
        raise UsageError(f"{where}: label {unknown[0]!r} is none of the classes {', '.join(names)}.")
    if distinct[-1] >= len(names):
        raise UsageError(
            f"{where}: label {distinct[-1]} is out of range; {len(names)} classes have labels 0 to "
            f"{len(names) - 1}."
        )
    return distinct.astype(np.int64)


def _clean(y: AnyArray, where: str) -> AnyArray:
    """Return whole, non-negative numbers as int64, or names without surrounding blanks."""
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    if y.dtype.kind == "U":
        return _clean_text(np.char.strip(y), where)
    if y.dtype.kind not in "biuf":
        raise UsageError(f"{where}: labels of type {y.dtype}; use whole numbers or names.")
    if y.dtype.kind == "f":
        missing = int(np.count_nonzero(~np.isfinite(y)))
        if missing:
            raise UsageError(f"{where}: {missing} labels are missing; fill them in or drop the rows.")
        fractions = y[y != np.rint(y)]
        if len(fractions):
            raise UsageError(
                f"{where}: label {fractions[0]:g} is a fraction; labels are whole numbers from 0, or names."
            )
    if len(y) and y.min() < 0:
        raise UsageError(
            f"{where}: label {y.min():g} is negative; labels are whole numbers from 0, or names."
        )
    return y.astype(np.int64)


def _clean_text(text: AnyArray, where: str) -> AnyArray:
    missing = int(np.count_nonzero(text == ""))
    if missing:
        raise UsageError(f"{where}: {missing} labels are missing; fill them in or drop the rows.")
    try:
        numbers = text.astype(np.float64)
    except ValueError:
        return text
    return _clean(numbers, where)
