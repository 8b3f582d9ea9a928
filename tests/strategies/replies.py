"""Replies as clients would send them, for tests of rules; the contract's own, and bytes that lie."""

from __future__ import annotations

from flwr.app import Array

from fedbal.contract.replies import MODEL, ask, error_reply, grid_of, model, reply_to

__all__ = ["MODEL", "ask", "error_reply", "grid_of", "model", "raw_array", "reply_to"]


def raw_array(dtype: str, shape: tuple, data: bytes) -> Array:
    return Array(dtype=dtype, shape=shape, stype="numpy.ndarray", data=data)
