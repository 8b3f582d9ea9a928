"""A site's supervisor: keeps a SuperNode and a resident worker alive until it is told to stop."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fedbal.deployment import guard, wire
from fedbal.deployment.consent import Asking, Consent
from fedbal.deployment.processes import Child, environment, free_port
from fedbal.deployment.superlink import last_lines
from fedbal.interrupts import Signals, StopRequested

POLL = 0.2
SHORTEST, LONGEST = 1.0, 15.0
"""Seconds before a process that has ended is started again: doubled each time, between these."""
SOUND = 60.0
"""After so many seconds a process counts as well, and the next pause is the shortest again."""
LOG_LIMIT = 10_000_000
"""Bytes after which a log is begun anew when its process starts; the one before stays."""
BACKLOG = 8
REASONS = 60
"""Lines in which a SuperNode says why it ends; shutting down it writes more."""

_HINTS = {
    "Failed to activate SuperNode": "the coordinator does not know this key, or has not given up the connection "
    "from before yet (it takes up to 60 s)",
    "certificate verify failed": "the coordinator's certificate is not signed by --ca, has expired or "
    "is for another name",
    "unavailable": "the coordinator cannot be reached",
    "refused": "the coordinator cannot be reached",
}


@dataclass(frozen=True)
class SiteCommand:
    """What a site runs.

    Attributes
    ----------
    server : str
        ``HOST:PORT`` of the coordinator.
    name : str
        The site's name.
    state : Path
        Folder for logs, client state and Flower's files.
    authority, key : Path, optional
        Certificate of the authority and private key of the site; None: no TLS.
    data : Path, optional
        The site's own data.
    partition : int
        Client of the scenario's partition that it plays without them; -1: the coordinator chooses.
    device : str
        auto, cpu, cuda or cuda:N.
    accept : tuple of str
        Hashes of manifests that the site agrees to, or any.
    allow : tuple of str
        What may leave it, ``NAME=yes|no``.
    components : tuple of str
        Code beside fedbal's own that a scenario may name.
    """

    server: str
    name: str
    state: Path
    authority: Path | None = None
    key: Path | None = None
    data: Path | None = None
    partition: int = -1
    device: str = "auto"
    accept: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    components: tuple[str, ...] = ()

    def supernode(self, port: int) -> list[str]:
        """Return the command of the SuperNode, whose helpers meet on a local port."""
        if self.authority is None:
            security = ["--insecure"]
        else:
            security = ["--root-certificates", str(self.authority)]
            if self.key is not None:
                security += ["--auth-supernode-private-key", str(self.key)]
        where = ["--superlink", self.server, "--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, "-m", "fedbal.deployment.supernode", *security, *where]

    def worker(self, descriptor: int) -> list[str]:
        """Return the command of the worker, which serves an open socket."""
        command = [
            *(sys.executable, "-m", "fedbal.deployment.worker", "--socket", str(descriptor)),
            *("--name", self.name, "--state", str(self.state / "runs"), "--device", self.device),
            *(f"--accept={one}" for one in self.accept),
            *(f"--allow={one}" for one in self.allow),
            *(f"--component={one}" for one in self.components),
        ]
        if self.data is not None:
            return [*command, "--data", str(self.data)]
        return [*command, "--partition", str(self.partition)]


@dataclass
class _Kept:
    """A process that is started again whenever it ends."""

    what: str
    start: Callable[[], Child]
    log: Path | None
    child: Child | None = None
    began: float = 0.0
    position: int = 0
    pause: float = SHORTEST
    due: float = field(default=0.0)


class Site:
    """Runs a site.

    Parameters
    ----------
    command : SiteCommand
        What it runs.
    say : callable
        Is told in one sentence what happens.
    """

    def __init__(self, command: SiteCommand, say: Callable[[str], None]) -> None:
        self._command = command
        self._say = say

    def run(self) -> None:
        """Supervise until Ctrl-C or SIGTERM, which end it cleanly."""
        command = self._command
        command.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix="fedbal-"))
        path = folder / "worker"
        kept: list[_Kept] = []
        try:
            with Signals() as signals, socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
                path.chmod(0o600)
                listening.listen(BACKLOG)
                listening.set_inheritable(True)
                asking = Asking(Consent(command.state, command.accept), self._say)
                kept += self._processes(listening, path)
                with contextlib.suppress(StopRequested):
                    while True:
                        signals.check()
                        asking.step()
                        for one in kept:
                            self._keep(one)
                        time.sleep(POLL)
                self._say("stopping")
        finally:
            for one in reversed(kept):
                if one.child is not None:
                    one.child.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _processes(self, listening: socket.socket, path: Path) -> list[_Kept]:
        command = self._command
        home = command.state / "flower"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        only_ours = guard.commands(command.state / "commands", guard.CLIENT_APP)
        env = environment(home, {wire.WORKER: str(path)}, only_ours)
        log = command.state / "supernode.log"
        descriptor = listening.fileno()
        return [
            _Kept("worker", lambda: Child(command.worker(descriptor), env, None, (descriptor,)), None),
            _Kept("SuperNode", lambda: Child(command.supernode(free_port()), env, log), log),
        ]

    def _keep(self, one: _Kept) -> None:
        """Start a process that is due, and plan the next start of one that has ended."""
        now = time.monotonic()
        if one.child is None:
            if now >= one.due:
                one.position = _turned(one.log)
                one.child, one.began = one.start(), now
            return
        code = one.child.poll()
        if code is None:
            return
        one.child.kill()
        one.child = None
        one.pause = SHORTEST if now - one.began > SOUND else one.pause
        self._say(
            f"the {one.what} ended ({_how(code)}){self._why(one)}; starting it again in {one.pause:g} s"
        )
        one.due = now + one.pause
        one.pause = min(LONGEST, 2.0 * one.pause)

    def _why(self, one: _Kept) -> str:
        if one.log is None:
            return ""
        text = last_lines(one.log, one.position, REASONS)
        hint = next((hint for mark, hint in _HINTS.items() if mark.lower() in text.lower()), None)
        return f": {hint}" if hint else f"; see {one.log}"


def _turned(log: Path | None) -> int:
    """Begin a log anew if it has grown too large; returns where the next lines will be."""
    if log is None or not log.exists():
        return 0
    size = log.stat().st_size
    if size <= LOG_LIMIT:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
