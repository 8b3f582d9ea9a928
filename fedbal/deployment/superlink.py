"""Flower's SuperLink and its command line, as a coordinator uses them."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedbal.deployment import guard
from fedbal.deployment.job import JOBS
from fedbal.deployment.processes import Child, environment, executable
from fedbal.errors import RunError

CONNECTION = "fedbal"
"""Name of the connection in Flower's configuration."""
START = 60.0
"""Seconds that a SuperLink may take to answer."""
COMMAND = 120.0
"""Seconds that a command of ``flwr`` may take."""
_TOGETHER = 4
_KNOWN = "already in use"


@dataclass(frozen=True)
class Connection:
    """A SuperLink that listens somewhere, for Flower's command line.

    Attributes
    ----------
    address : str
        ``HOST:PORT``.
    home : Path
        Folder for Flower's configuration.
    authority : Path, optional
        Certificate of the authority; None: no TLS.
    """

    address: str
    home: Path
    authority: Path | None = None

    def write(self) -> None:
        """Write Flower's configuration."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        how = (
            "insecure = true" if self.authority is None else f"root-certificates = {_quoted(self.authority)}"
        )
        text = f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
        text += f'address = "{self.address}"\n{how}\n'
        (self.home / "config.toml").write_text(text, encoding="utf-8")

    def flwr(self, *arguments: str) -> str:
        """Run a command of ``flwr`` and return its output.

        Raises
        ------
        RunError
            It failed; the message has Flower's own last lines.
        """
        command = [executable("flwr"), *arguments]
        try:
            done = subprocess.run(
                command,
                env=environment(self.home),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RunError(f"`flwr {' '.join(arguments)}` took more than {COMMAND:g} s.") from error
        if done.returncode:
            said = " ".join((done.stdout + " " + done.stderr).split())[-400:]
            raise RunError(f"`flwr {' '.join(arguments)}` failed: {said}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run a command of ``flwr`` that answers in JSON and return what it says."""
        output = self.flwr(*arguments, "--format", "json")
        try:
            return json.loads(output[output.index("{") :])
        except ValueError as error:
            raise RunError(
                f"`flwr {' '.join(arguments)}` did not answer in JSON: {output[-200:]!r}"
            ) from error

    def run_status(self, run: str) -> str:
        """Return the status of a run, as ``finished:completed``; Flower's exit code does not tell."""
        return _status(self.json("ls", CONNECTION, "--run-id", run))

    def submit(self, app: Path, job: str) -> str:
        """Submit an app and return the id of its run."""
        answer = self.json("run", str(app), CONNECTION, "--run-config", f'job="{job}"')
        if not answer.get("success") or not answer.get("run-id"):
            raise RunError(f"Flower did not take the run: {answer}.")
        return str(answer["run-id"])

    def stop(self, run: str) -> None:
        """Stop a run."""
        self.flwr("stop", run, CONNECTION)

    def register(self, keys: Mapping[str, Path]) -> None:
        """Register the public keys of sites, by name; those that are registered already stay so.

        Raises
        ------
        RunError
            Flower does not take one.
        """
        with ThreadPoolExecutor(_TOGETHER) as pool:
            list(pool.map(self._register, keys.items()))

    def _register(self, item: tuple[str, Path]) -> None:
        name, key = item
        try:
            self.flwr("supernode", "register", str(key), CONNECTION, "--name", name)
        except RunError as error:
            if _KNOWN not in str(error):
                raise RunError(f"the key {key} of {name} cannot be registered: {error}") from error

    def healthy(self) -> bool:
        """Tell whether a SuperLink answers."""
        scheme, context = "http", None
        if self.authority is not None:
            scheme, context = "https", ssl.create_default_context(cafile=str(self.authority))
        try:
            url = f"{scheme}://{self.address}/health"
            with urllib.request.urlopen(url, timeout=5.0, context=context) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


@dataclass(frozen=True)
class Listening:
    """Where and how a SuperLink listens.

    Attributes
    ----------
    host, port : str, int
        Address to bind.
    tls : Path, optional
        Folder with ``ca.crt``, ``server.pem`` and ``server.key``; None: no TLS and no node authentication.
    """

    host: str
    port: int
    tls: Path | None = None

    @property
    def local(self) -> str:
        """Address for processes on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def arguments(self) -> list[str]:
        """Return the arguments of ``flower-superlink``."""
        where = ["--host", self.host, "--port", str(self.port)]
        if self.tls is None:
            return [*where, "--insecure"]
        files = [
            *("--ssl-ca-certfile", str(self.tls / "ca.crt")),
            *("--ssl-certfile", str(self.tls / "server.pem")),
            *("--ssl-keyfile", str(self.tls / "server.key")),
        ]
        return [*where, *files, "--enable-supernode-auth"]


def start(listening: Listening, state: Path) -> tuple[Child, Connection]:
    """Start a SuperLink and wait until it answers.

    Parameters
    ----------
    listening : Listening
        Where and how.
    state : Path
        Folder for its database, configuration, log and jobs.

    Raises
    ------
    RunError
        It does not start: the port is taken, a file is missing or refused. The message has its last lines.
    """
    authority = None if listening.tls is None else (listening.tls / "ca.crt").resolve()
    connection = Connection(listening.local, state / "flower-cli", authority)
    if listening.tls is not None:
        _require_valid(listening.tls)
    _require_free(listening)
    connection.write()
    home, log = state / "flower", state / "superlink.log"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [
        *(executable("flower-superlink"), *listening.arguments()),
        *("--database", str(state / "flower.db"), "--disable-runtime-dependency-installation"),
    ]
    began = log.stat().st_size if log.exists() else 0
    only_ours = guard.commands(state / "commands", guard.SERVER_APP)
    child = Child(command, environment(home, {JOBS: str((state / "jobs").resolve())}, only_ours), log)
    try:
        _await(child, connection, log, began)
    except BaseException:
        child.stop()
        raise
    return child, connection


def _require_valid(tls: Path) -> None:
    from fedbal.deployment.provision import SERVER, read_certificate

    certificate, now = read_certificate(tls / SERVER, tls), datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        raise RunError(
            f"the certificate {tls / SERVER} has expired on {certificate.not_valid_after_utc:%Y-%m-%d}, and no "
            f"site would connect; `fedbal provision renew {tls}` makes another."
        )
    if certificate.not_valid_before_utc > now:
        raise RunError(
            f"the certificate {tls / SERVER} begins on {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, and "
            "this machine's clock is before that; set the clock."
        )


def _require_free(listening: Listening) -> None:
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listening.host, listening.port))
    except OSError as error:
        raise RunError(
            f"cannot listen on {listening.host}:{listening.port} ({error.strerror or error}); choose another "
            "--host or --port, or end what listens there."
        ) from error


def _await(child: Child, connection: Connection, log: Path, began: int) -> None:
    deadline = time.monotonic() + START
    while not connection.healthy():
        if child.poll() is not None:
            raise RunError(f"the SuperLink did not start on {connection.address}: {last_lines(log, began)}")
        if time.monotonic() > deadline:
            raise RunError(
                f"the SuperLink does not answer on {connection.address} after {START:g} s; see {log}."
            )
        time.sleep(0.2)
    if child.poll() is not None:
        raise RunError(f"somebody else listens on {connection.address}; choose another --port.")


def last_lines(log: Path, began: int = 0, count: int = 3) -> str:
    """Return the last lines of a log that were written after position ``began``, as one."""
    try:
        data = log.read_bytes()[began:]
    except OSError:
        return f"see {log}"
    lines = [line.strip() for line in data.decode(errors="replace").splitlines() if line.strip()]
    return " ".join(lines[-count:]) or f"see {log}"


def _status(answer: Mapping[str, Any]) -> str:
    runs: Sequence[Mapping[str, Any]] = answer.get("runs", ())
    if not runs:
        raise RunError(f"Flower does not know the run: {answer}.")
    return str(runs[0]["status"])


def _quoted(path: Path) -> str:
    return json.dumps(str(path))
