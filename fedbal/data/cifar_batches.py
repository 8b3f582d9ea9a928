"""Reading one CIFAR batch without unpickling it.

The published batches are Python 2 pickles, and unpickling a file can run whatever the file says. They hold one
dictionary of byte strings, lists, whole numbers and one uint8 array, and nothing else. So only pickle's own
containers are built here; the three names that an array needs stand for inert classes of this module, which
check what they are given, and any other name, persistent id or extension is refused before anything is called.
NumPy's own reconstruction, which can be asked for arrays of objects, never runs.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn

import numpy as np

from fedbal.data.dataset import AnyArray

MOST_BYTES = 400_000_000
"""More than twice the largest published batch."""
_UINT8 = (b"u1", b"|u1", "u1", "|u1")


class _Type:
    """Stands for ``numpy.dtype``: one byte without sign, or refused."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        if code not in _UINT8:
            raise pickle.UnpicklingError(f"holds an array of type {code!r}, not uint8")

    def __setstate__(self, state: Any) -> None:
        """Byte order and fields mean nothing for one byte."""


class _Marker:
    """Stands for the class ``numpy.ndarray``, which is named but not made."""

    def __new__(cls, *_: Any) -> NoReturn:
        """Refuse to be made."""
        raise pickle.UnpicklingError("makes an array in an unknown way")


class _Array:
    """Stands for an array under reconstruction."""

    array: AnyArray | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Take version, shape, type, order and bytes, as NumPy wrote them."""
        try:
            _, shape, kind, fortran, content = state
        except (TypeError, ValueError):
            raise pickle.UnpicklingError("holds an array without shape and content") from None
        plain = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
        if not plain or type(kind) is not _Type or type(content) is not bytes or fortran:
            raise pickle.UnpicklingError("holds an array that is not plain bytes")
        try:
            self.array = np.frombuffer(content, np.uint8).reshape(shape)
        except ValueError:
            raise pickle.UnpicklingError(
                f"holds {len(content)} bytes for an array of shape {shape}"
            ) from None


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Marker,
    ("numpy", "dtype"): _Type,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"names {module}.{name}, which no published batch does")
        return _NAMES[module, name]


def read_batch(content: bytes) -> dict[str, Any]:
    """Return the entries of a batch; arrays as uint8 arrays, byte strings as bytes.

    Parameters
    ----------
    content : bytes
        The file.

    Raises
    ------
    ValueError
        It is no such batch; the message says what is wrong, to follow the file's name.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"is {len(content)} bytes long; no CIFAR batch is larger than {MOST_BYTES}")
    try:
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise ValueError(str(error)) from error
    except Exception as error:
        # Damaged pickles fail in many ways, none of which says more than this.
        raise ValueError(f"is damaged ({type(error).__name__})") from error
    if type(batch) is not dict or not all(type(key) is bytes for key in batch):
        raise ValueError("does not hold the dictionary of a CIFAR batch")
    return {
        key.decode("ascii", "replace"): value.array if type(value) is _Array else value
        for key, value in batch.items()
    }
