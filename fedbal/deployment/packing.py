"""A message's records as one array: Flower sends every tensor of a record in two requests of their own.

On a slow link or a small device these requests, not the bytes, are what a message costs.
"""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict

from fedbal.records import from_bytes, to_bytes

PACKED = "fedbal.packed"
"""Array record with one array: the bytes of all other records, as :mod:`fedbal.records` writes them."""
_NAME = "bytes"


def pack(content: RecordDict) -> RecordDict:
    """Return a content with all records in one array; equal contents give equal bytes, which Flower stores once."""
    data = np.frombuffer(to_bytes(content), np.uint8)
    return RecordDict({PACKED: ArrayRecord({_NAME: Array(data)})})


def unpack(content: RecordDict) -> RecordDict:
    """Return the records of a content, those that were packed and those beside them.

    Raises
    ------
    ValueError, TypeError, KeyError
        What was packed cannot be read.
    """
    packed = content.get(PACKED)
    if not isinstance(packed, ArrayRecord):
        return content
    beside = {name: record for name, record in content.items() if name != PACKED}
    return RecordDict({**from_bytes(packed[_NAME].numpy().tobytes()), **beside})
