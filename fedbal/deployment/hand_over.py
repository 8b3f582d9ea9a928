"""The thin ClientApp of a deployed run: hands each message to the site's resident worker and returns its answer.

It is loaded in a new process for every message and imports neither torch nor training code. Whatever goes wrong it
returns a message: a SuperNode whose ClientApp returns nothing takes no further message.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from fedbal.deployment import wire
from fedbal.records import from_bytes, to_bytes

CLIENT_RAISED = 2
"""Flower's error code for a ClientApp that raised."""
CLIENT_CRASHED = 8
"""Flower's error code for a client process that ended."""
PATIENCE = 86_400.0
"""Seconds after which an answer is given up, where the message allows more."""


class HandOver(ClientApp):
    """Passes messages on to the resident worker.

    Parameters
    ----------
    entry : str
        The entry module's file; the scenario lies beside it.
    """

    def __init__(self, entry: str) -> None:
        super().__init__()
        self._folder = Path(entry).resolve().parent

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message, with an error if there is no other answer."""
        try:
            return self._ask(message)
        except ConnectionError as error:
            reason = f"the site's worker ended before it answered ({error or type(error).__name__})"
            return Message(Error(CLIENT_CRASHED, reason), reply_to=message)
        except TimeoutError:
            reason = f"the site's worker did not answer within {_patience(message):g} s"
            return Message(Error(CLIENT_CRASHED, reason), reply_to=message)
        except Exception as error:
            return Message(Error(CLIENT_RAISED, f"{type(error).__name__}: {error}"), reply_to=message)

    def _ask(self, message: Message) -> Message:
        path = os.environ.get(wire.WORKER)
        if not path:
            raise RuntimeError(f"{wire.WORKER} is not set; start the site with `fedbal client`")
        head = {
            "kind": message.metadata.message_type,
            "group": message.metadata.group_id,
            "folder": str(self._folder),
            "seconds": _patience(message),
        }
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_patience(message))
            connection.connect(path)
            wire.send(connection, head, to_bytes(message.content))
            answer, body = wire.receive(connection)
        if "error" in answer:
            return Message(Error(int(answer["code"]), str(answer["error"])), reply_to=message)
        return Message(from_bytes(body), reply_to=message)


def _patience(message: Message) -> float:
    """Return the seconds that the worker has, by the message's time to live and this machine's clock."""
    return min(PATIENCE, max(1.0, float(message.metadata.ttl)))
