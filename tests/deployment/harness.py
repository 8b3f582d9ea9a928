"""Deployments that break: coordinators and sites as processes on the loopback, saboteurs, a bad network."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import fedbal
from fedbal.deployment import provision
from fedbal.deployment.loopback import HOST, Loopback
from fedbal.deployment.processes import Child, environment, free_port
from fedbal.interrupts import Signals
from fedbal.observer import Silent
from fedbal.scenario import Scenario, from_mapping, one_by_one
from tests.scenarios import DIGITS

PATIENCE = 240.0
"""Seconds that anything may take on a busy machine."""
SABOTAGE = Path(__file__).parent / "sabotage"
CODE = Path(fedbal.__file__).parents[1]


REASONS = {
    "raise": "error 2: RuntimeError: boom",
    "nan": "non-finite values in array",
    "shape": r"array '.*' is float32 \(16, 63\), the model has float32 \(16, 64\)",
    "broadcast": r"array '.*' is float32 \(1, 64\), the model has float32 \(16, 64\)",
    "dtype": "is float64",
    "missing": r"array names differ: missing \['.*'\]",
    "oversized": r"unknown \['more'\]",
    "zero weight": "must be a positive finite number, got 0",
    "negative weight": "must be a positive finite number, got -5",
    "no weight": "must be a positive finite number, got None",
    "stale": "it started from round 1, this is round",
    "empty": "expected an array record|positive finite number",
    "none": "error 2",
    "exit": "error 8: the client exited: 3",
    "kill": "error 8: the site's worker ended before it answered",
}
"""What the coordinator says of each fault of an answer."""


def places(faults: Sequence[str]) -> tuple[dict[str, tuple[int, int]], int]:
    """Return which site commits each fault, 1 or 2, and in which round; and how many rounds that takes."""
    found = {fault: (1 + number % 2, 2 + number // 2) for number, fault in enumerate(faults)}
    # The last round is without one, so that every site is seen to come back.
    return found, 1 + max(number for _, number in found.values())


def scenario(*overrides: str, sites: int = 3) -> Scenario:
    """Return a small scenario for so many sites."""
    small = (f"data.partition.clients={sites}", "data.partition.alpha=5", "cohort.fraction=1.0", "rounds=3")
    return one_by_one(from_mapping(DIGITS, overrides=[*small, *overrides]))


def wait_for(what: Callable[[], object], described: str, seconds: float = PATIENCE) -> None:
    """Wait until something is true; says what was waited for if it does not become so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"{described}: not within {seconds:g} s"
        time.sleep(0.1)


def rows(directory: Path, name: str) -> list[dict]:
    """Return the rows of a journal, complete lines only."""
    path = directory / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def outcomes(directory: Path, client: str) -> dict[int, tuple[str, str]]:
    """Return a client's status and reason in every round."""
    found = [row for row in rows(directory, "clients.jsonl") if row["client"] == client]
    return {row["round"]: (row["status"], row.get("reason") or "") for row in found}


def variables(home: Path, plan: Path | None = None) -> dict[str, str]:
    """Return the environment of a process, with a saboteur if there is a file that plans faults."""
    places = [str(CODE), os.environ.get("PYTHONPATH")]
    more = {}
    if plan is not None:
        places.insert(0, str(SABOTAGE))
        more["FEDBAL_TEST_FAULTS"] = str(plan)
    path = os.pathsep.join(place for place in places if place)
    return {**environment(home), "PYTHONPATH": path, **more}


def start(log: Path, home: Path, *arguments: str, plan: Path | None = None) -> Child:
    """Start a command of fedbal."""
    return Child([sys.executable, "-m", "fedbal", *arguments], variables(home, plan), log)


class Sabotaged(Loopback):
    """A deployment whose sites break as planned.

    Parameters
    ----------
    folder : Path
        New or empty.
    sites : int
        How many.
    """

    def __init__(self, folder: Path, sites: int) -> None:
        super().__init__(folder, sites)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.plan()

    def plan(self, **faults: Mapping[int, str]) -> None:
        """Let sites break from now on: ``site_2={3: "nan"}`` in round 3; those not named do not."""
        for name in self.names:
            wanted = faults.get(name.replace("-", "_"), {})
            path = self._plan(name)
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps({str(number): fault for number, fault in wanted.items()}))
            beside.replace(path)

    def commit(self, faults: Mapping[str, tuple[int, int]], out: Path, *overrides: str) -> None:
        """Run a small scenario in which sites commit faults: name to site and round."""
        plans: dict[str, dict[int, str]] = {}
        for fault, (site, number) in faults.items():
            plans.setdefault(f"site_{site}", {})[number] = fault
        self.plan(**plans)
        with Signals() as signals:
            self.run(scenario(*overrides, sites=len(self.names)), out, Silent(), signals)

    def _plan(self, name: str) -> Path:
        return self.folder / f"{name}.plan"

    def key(self, name: str) -> Path:
        """Return a site's private key."""
        return self.folder / "secrets" / "clients" / name / f"{name}.key"

    @property
    def authority(self) -> Path:
        """Certificate of the authority."""
        return self.folder / "secrets" / "ca.crt"

    def start_site(self, name: str, server: str | None = None) -> None:
        """Start a site, if need be by way of another address."""
        number = str(self.names.index(name))
        options = ["--partition", number, "--device", "cpu", "--accept", "any", "--allow", "small-counts=yes"]
        self._sites[name] = self.client(
            name, server or self.address, self.authority, self.key(name), *options
        )

    def client(self, name: str, server: str, authority: Path, key: Path, *more: str) -> Child:
        """Start ``fedbal client`` with any certificate and key."""
        arguments = ["client", "--server", server, "--ca", str(authority), "--key", str(key), "--name", name]
        arguments += ["--state", str(self.folder / name), *more]
        plan = self._plan(name) if name in self.names else None
        return start(self.folder / f"{name}.log", self.folder / "home", *arguments, plan=plan)

    def log(self, name: str) -> str:
        """Return what a site has printed."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""


class CoordinatorProcess:
    """``fedbal server`` and its sites as processes, for a coordinator that is killed.

    Parameters
    ----------
    folder : Path
        New or empty.
    chosen : Scenario
        What is run.
    sites : int
        How many.
    """

    def __init__(self, folder: Path, chosen: Scenario, sites: int) -> None:
        self.folder = folder
        self.out = folder / "run"
        self.port = free_port()
        self.names = [f"site-{number}" for number in range(sites)]
        self._scenario = folder / "scenario.yaml"
        self._children: list[Child] = []
        self._secrets = folder / "secrets"
        self._scenario.write_text(chosen.to_yaml())
        provision.init(self._secrets, [HOST])
        for name in self.names:
            provision.add_client(self._secrets, name, f"{HOST}:{self.port}")

    def server(self) -> Child:
        """Start the coordinator, or start it again."""
        arguments = ["server", str(self._scenario), "--port", str(self.port), "--tls", str(self._secrets)]
        arguments += ["--state", str(self.folder / "state"), "--clients", str(len(self.names))]
        child = start(
            self.folder / "server.log",
            self.folder / "home",
            *arguments,
            "--out",
            str(self.out),
            "--wait",
            "4m",
        )
        self._children.append(child)
        return child

    def sites(self, server: str | None = None, accept: str | None = "any") -> list[Child]:
        """Start the sites, which agree to a manifest."""
        started = []
        for number, name in enumerate(self.names):
            key = self._secrets / "clients" / name / f"{name}.key"
            arguments = [
                *("client", "--server", server or f"{HOST}:{self.port}", "--name", name, "--key", str(key)),
                *(
                    "--ca",
                    str(self._secrets / "ca.crt"),
                    "--state",
                    str(self.folder / name),
                    "--device",
                    "cpu",
                ),
                *("--partition", str(number), "--allow", "small-counts=yes"),
            ]
            if accept is not None:
                arguments += ["--accept", accept]
            started.append(start(self.folder / f"{name}.log", self.folder / "home", *arguments))
        self._children += started
        return started

    def done(self) -> int:
        """Return the rounds that are recorded."""
        return len(rows(self.out, "rounds.jsonl"))

    def __enter__(self) -> CoordinatorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.ask()
        for child in self._children:
            child.stop()


class Proxy:
    """A TCP proxy on the loopback: slow, late, cutting connections, moving.

    Parameters
    ----------
    upstream : int
        Port to pass connections on to; may be changed at any time.
    delay : float
        Seconds that every piece is late, each way.
    rate : float, optional
        Bytes a second, each connection and way.
    """

    def __init__(self, upstream: int, delay: float = 0.0, rate: float | None = None) -> None:
        self.upstream = upstream
        self.delay = delay
        self.rate = rate
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server((HOST, 0))
        self.port = int(self._listening.getsockname()[1])
        self._closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._listening.close()
        self.cut()

    def cut(self) -> int:
        """Reset every connection; returns how many there were."""
        with self._lock:
            cut, self._open = self._open, set()
        for one in cut:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        return len(cut) // 2

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listening.accept()
                far = socket.create_connection((HOST, self.upstream), timeout=10.0)
            except OSError:
                if self._closed.is_set():
                    return
                near.close()
                continue
            self.connections += 1
            with self._lock:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while not self._closed.is_set():
                ready, _, _ = select.select([source], [], [], 0.5)
                if not ready:
                    continue
                piece = source.recv(16_384)
                if not piece:
                    break
                time.sleep(self.delay + (len(piece) / self.rate if self.rate else 0.0))
                sink.sendall(piece)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern is found, in either case."""
    return re.search(pattern, text, re.IGNORECASE) is not None


def require_named(fault: str, where: Mapping[str, tuple[int, int]], rounds: int, directory: Path) -> None:
    """Require that a fault was dropped and named, and that its site took part before and after."""
    site, number = where[fault]
    found = outcomes(directory, str(site))
    status, reason = found[number]
    assert status != "ok"
    assert matches(REASONS[fault], reason), reason
    assert found[1][0] == found[rounds][0] == "ok"


@contextlib.contextmanager
def ending(child: Child) -> Iterator[Child]:
    """End a process with the block."""
    try:
        yield child
    finally:
        child.stop()
