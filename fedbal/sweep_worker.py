"""A process of a sweep: runs scenario after scenario with the modules and data that it already has.

Started as ``python -m fedbal.sweep_worker FD`` with a connection to the sweep at that file descriptor.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fedbal.data.federation import Federation, load_federation
from fedbal.errors import FedbalError
from fedbal.interrupts import Interrupted
from fedbal.scenario import Scenario, from_mapping
from fedbal.simulation import run_here

FEDERATIONS = 2
"""Divided data sets that a process keeps."""


class Federations:
    """Loads and divides data once for all runs that agree on them; keeps the latest.

    Parameters
    ----------
    load : callable
        Makes a federation from a ``data`` block and the partition seed.
    """

    def __init__(self, load: Callable[..., Federation] = load_federation) -> None:
        self._load = load
        self._kept: OrderedDict[str, Federation] = OrderedDict()

    def of(self, scenario: Scenario) -> Federation:
        """Return the federation of a scenario."""
        key = data_key(scenario)
        if key not in self._kept:
            while len(self._kept) >= FEDERATIONS:
                self._kept.popitem(last=False)
            self._kept[key] = self._load(scenario.data, scenario.seed.partition)
        self._kept.move_to_end(key)
        return self._kept[key]


def data_key(scenario: Scenario) -> str:
    """Return a text that is the same for scenarios with the same divided data."""
    return f"{scenario.seed.partition} {scenario.data.model_dump_json()}"


class Remote:
    """An observer that tells the sweep; a sweep that is gone ends the run, which can then be resumed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Tell that the run begins."""
        self._connection.send(("started", first_round))

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Tell a round's row."""
        self._connection.send(("round_finished", dict(row)))

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Tell the summary."""
        self._connection.send(("finished", dict(summary)))

    def note(self, message: str) -> None:
        """Tell a note."""
        self._connection.send(("note", message))


def serve(connection: Connection) -> None:
    """Run the scenarios that arrive, each with its directory, until the sweep ends or stops this process."""
    federations = Federations()
    while True:
        try:
            content, directory = connection.recv()
        except EOFError:
            return
        failure = None
        try:
            scenario = from_mapping(content)
            run_here(scenario, directory, Remote(connection), federations.of)
        except (Interrupted, BrokenPipeError):
            return
        except FedbalError as error:
            failure = str(error)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        connection.send(("ended", failure))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
