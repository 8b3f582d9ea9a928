"""Messages over the Unix socket between a site's thin ClientApp and its resident worker.

A message is a length (8 bytes, little-endian), a head of that many bytes (JSON), a second length and a body: Flower
records as :mod:`fedbal.records` writes them. Nothing is unpickled. Imports neither torch nor training code.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

WORKER = "FEDBAL_WORKER"
"""Environment variable with the path of the worker's socket."""
HEAD_LIMIT = 1 << 20
"""Most bytes of a head; more is not ours."""
_LENGTH = 8
_CHUNK = 1 << 20


def send(connection: socket.socket, head: Mapping[str, Any], body: bytes = b"") -> None:
    """Send a head and a body."""
    encoded = json.dumps(head).encode()
    connection.sendall(_length(encoded) + encoded + _length(body))
    connection.sendall(body)


def receive(connection: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Receive a head and a body.

    Raises
    ------
    ConnectionError
        The other side went away.
    ValueError
        What came is no message of ours.
    """
    size = int.from_bytes(_exactly(connection, _LENGTH), "little")
    if size > HEAD_LIMIT:
        raise ValueError(f"a head of {size} bytes, at most {HEAD_LIMIT} are allowed")
    head = json.loads(_exactly(connection, size))
    if not isinstance(head, dict):
        raise ValueError("the head is no object")
    return head, _exactly(connection, int.from_bytes(_exactly(connection, _LENGTH), "little"))


def _length(data: bytes) -> bytes:
    return len(data).to_bytes(_LENGTH, "little")


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = connection.recv(min(_CHUNK, count - len(data)))
        if not chunk:
            raise ConnectionError("the other side went away")
        data += chunk
    return bytes(data)
