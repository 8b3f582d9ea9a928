"""The resident worker of a site: keeps model, data and compiled code between messages.

``fedbal client`` starts it with a listening Unix socket and starts it again when it ends. A message that takes
longer than it may is given up by ending the process, whatever it hangs in; the thin ClientApp then answers with an
error.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Error, RecordDict

from fedbal.backend import cuda_is_there
from fedbal.deployment import wire
from fedbal.deployment.allow import Allowed
from fedbal.deployment.bundle import SCENARIO
from fedbal.deployment.gate import Gate, Terms
from fedbal.deployment.hand_over import CLIENT_CRASHED, CLIENT_RAISED
from fedbal.deployment.named_code import require_named
from fedbal.deployment.packing import pack, unpack
from fedbal.deployment.seat import RunSeat, SiteOptions
from fedbal.deployment.states import forget_old
from fedbal.protocol import num_bytes
from fedbal.records import from_bytes, to_bytes
from fedbal.scenario import load

KEPT = 2
"""Scenarios whose clients stay in memory."""
OVERDUE = 75
"""Exit code of a worker that was ended because a message took too long."""


class Worker:
    """Answers messages one after the other.

    Parameters
    ----------
    options : SiteOptions
        What the site was told.
    terms : Terms
        What it agrees to send.
    """

    def __init__(self, options: SiteOptions, terms: Terms) -> None:
        self._options = options
        self._terms = terms
        self._seats: OrderedDict[str, Gate] = OrderedDict()

    def serve(self, listening: socket.socket) -> None:
        """Answer whoever connects, for ever."""
        while True:
            connection, _ = listening.accept()
            with connection:
                try:
                    self._serve_one(connection)
                except (ConnectionError, ValueError) as error:
                    print(f"a message was not answered: {error}", flush=True)

    def _serve_one(self, connection: socket.socket) -> None:
        head, body = wire.receive(connection)
        timer = threading.Timer(float(head["seconds"]), os._exit, [OVERDUE])
        timer.daemon = True
        timer.start()
        try:
            answer = self._answer(str(head["kind"]), str(head["group"]), Path(head["folder"]), body)
            _tell(head, answer)
            if isinstance(answer, Error):
                wire.send(connection, {"code": answer.code, "error": answer.reason or "no reason given"})
            else:
                wire.send(connection, {}, to_bytes(pack(answer)))
        finally:
            timer.cancel()

    def _answer(self, kind: str, group: str, folder: Path, body: bytes) -> RecordDict | Error:
        try:
            return self._seat(folder / SCENARIO).answer(kind, group, unpack(from_bytes(body)))
        except SystemExit as error:
            return Error(CLIENT_CRASHED, f"the client exited: {error}")
        except Exception as error:
            return Error(CLIENT_RAISED, f"{type(error).__name__}: {error}")

    def _seat(self, path: Path) -> Gate:
        key = path.read_text(encoding="utf-8")
        if key not in self._seats:
            while len(self._seats) >= KEPT:
                self._seats.popitem(last=False)
            scenario = load(path)
            require_named(scenario, self._options.components)
            self._seats[key] = Gate(scenario, self._terms, RunSeat(scenario, self._options))
        self._seats.move_to_end(key)
        return self._seats[key]


def _tell(head: Mapping[str, Any], answer: RecordDict | Error) -> None:
    """Say in one line what was answered; the supervisor's output is ours."""
    kind, group = head["kind"], head["group"]
    where = f"round {group}, {kind}" if group not in ("", "0") else str(kind)
    if isinstance(answer, Error):
        print(f"{where}: {answer.reason}", flush=True)
    else:
        print(f"{where}: sent {num_bytes(answer)} bytes", flush=True)


def _device(wanted: str) -> str:
    """Return where to train; auto is the card, if there is one."""
    if wanted != "auto":
        return wanted
    return "cuda" if cuda_is_there() else "cpu"


def main() -> None:
    """Run as ``python -m fedbal.deployment.worker``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--partition", type=int, default=-1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--accept", action="append", default=[])
    parser.add_argument("--allow", action="append", default=[])
    parser.add_argument("--component", action="append", default=[])
    given = parser.parse_args()
    options = SiteOptions(
        *(given.name, given.state, given.data, given.partition, _device(given.device)), tuple(given.component)
    )
    terms = Terms(given.name, given.state.parent, given.accept, Allowed.parse(given.allow))
    forget_old(given.state)
    with socket.socket(fileno=given.socket) as listening:
        Worker(options, terms).serve(listening)


if __name__ == "__main__":
    main()
