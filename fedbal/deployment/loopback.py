"""A whole deployment on this machine: coordinator and sites on the loopback, with TLS and keys, run after run."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedbal.deployment import provision
from fedbal.deployment.job import JobFolder
from fedbal.deployment.processes import Child, environment, free_port
from fedbal.deployment.server import Coordinator, Wanted
from fedbal.deployment.superlink import Listening
from fedbal.errors import RunError
from fedbal.interrupts import Signals
from fedbal.observer import Observer
from fedbal.scenario import Scenario

HOST = "127.0.0.1"


class Loopback:
    """A coordinator and its sites; a context that ends all of them.

    Parameters
    ----------
    folder : Path
        New or empty, for keys, state and logs.
    sites : int
        How many; site ``k`` plays client ``k`` of every scenario.
    """

    def __init__(self, folder: Path, sites: int) -> None:
        self._folder = folder
        self._names = [f"site-{number}" for number in range(sites)]
        self._port = free_port()
        self._sites: dict[str, Child] = {}
        self._coordinator: Coordinator | None = None

    def __enter__(self) -> Self:
        secrets = self._folder / "secrets"
        provision.init(secrets, [HOST])
        for name in self._names:
            provision.add_client(secrets, name, f"{HOST}:{self._port}")
        listening = Listening(HOST, self._port, secrets)
        try:
            self._coordinator = Coordinator(listening, self._folder / "server")
            self._coordinator.start()
            for name in self._names:
                self.start_site(name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def names(self) -> Sequence[str]:
        """The sites, in the order of the clients that they play."""
        return self._names

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the coordinator."""
        return f"{HOST}:{self._port}"

    def close(self) -> None:
        """End everything."""
        for child in self._sites.values():
            child.ask()
        for child in self._sites.values():
            child.stop()
        self._sites.clear()
        if self._coordinator is not None:
            self._coordinator.stop()

    def start_site(self, name: str) -> None:
        """Start a site."""
        key = self._folder / "secrets" / "clients" / name / f"{name}.key"
        command = [
            *(sys.executable, "-m", "fedbal", "client", "--server", self.address),
            *("--ca", str(self._folder / "secrets" / "ca.crt"), "--key", str(key), "--name", name),
            *("--partition", str(self._names.index(name)), "--state", str(self._folder / name)),
            # Both ends are the same person's.
            *("--device", "cpu", "--accept", "any", "--allow", "small-counts=yes", "--component", "any"),
        ]
        env = environment(self._folder / "home")
        self._sites[name] = Child(command, env, self._folder / f"{name}.log")

    def kill_site(self, name: str) -> None:
        """End a site as if its power had failed."""
        self._sites.pop(name).kill()

    def run(
        self, scenario: Scenario, out: Path, observer: Observer, signals: Signals, *, wait: float = 120.0
    ) -> tuple[JobFolder, dict[str, Any]]:
        """Run a scenario; returns the job's folder, which keeps the model of every round, and the summary.

        Raises
        ------
        RunError
            The run fails.
        """
        if self._coordinator is None:
            raise RunError("the coordinator is not running.")
        wanted = Wanted(len(self._names), wait, out, uuid.uuid4().hex, models=True)
        summary = self._coordinator.run(scenario, wanted, observer, signals)
        return JobFolder(self._coordinator.state / "jobs" / wanted.key), summary
