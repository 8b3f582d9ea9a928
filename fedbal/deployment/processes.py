"""Flower's processes as children: their environment, their start, and their end together with ours."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from fedbal.errors import RunError

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
}
"""Nothing is sent anywhere and nothing is installed; tasks are looked for ten times a second."""
GRACE = 15.0
"""Seconds that a process may take to end by itself."""
_SET_PARENT_DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of Linux's prctl(2)."""


def environment(
    home: Path, extra: Mapping[str, str] | None = None, first: Path | None = None
) -> dict[str, str]:
    """Return the environment of Flower's processes: quiet, with a home of their own, able to find its helpers.

    Parameters
    ----------
    home : Path
        Where Flower keeps its configuration and the apps that it unpacks.
    extra : mapping, optional
        Further variables.
    first : Path, optional
        Folder with commands to be found before Flower's own.
    """
    folders = [first, Path(sys.executable).parent, os.environ.get("PATH")]
    path = os.pathsep.join(str(folder) for folder in folders if folder)
    return {**os.environ, **QUIET, "FLWR_HOME": str(home), "PATH": path, **(extra or {})}


def executable(name: str) -> str:
    """Return one of Flower's programs, from the environment that this Python runs in.

    Raises
    ------
    RunError
        It is not there.
    """
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise RunError(
            f"{path} does not exist; install Flower into this environment: pip install 'flwr>=1.41'."
        )
    return str(path)


class Child:
    """A process in a session of its own, so that Ctrl-C reaches only us; the kernel ends it when we are killed.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    env : mapping
        Its environment.
    log : Path, optional
        Where its output is appended; None: where ours goes.
    pass_fds : sequence of int
        Open files that it inherits.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.command = list(command)
        tie = _tied_to(os.getpid())
        with contextlib.nullcontext() if log is None else log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                pass_fds=tuple(pass_fds),
                start_new_session=True,
                preexec_fn=tie,
            )

    @property
    def pid(self) -> int:
        """Process id, which is also that of its group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Wait at most so long for its end and return the exit code, None if it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(max(0.0, seconds))
        return None

    def kill(self) -> None:
        """End it and everything that it started at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def ask(self) -> None:
        """Ask it to end, and do not wait."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def stop(self, grace: float = GRACE) -> None:
        """Ask it to end, and end its group when it does not, or leaves somebody behind."""
        self.ask()
        self.wait(grace)
        self.kill()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _tied_to(parent: int) -> Callable[[], None] | None:
    """Return what ties a child's life to the thread that starts it; Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    return partial(_tie, ctypes.CDLL(None, use_errno=True).prctl, parent)


def _tie(prctl: Callable[..., int], parent: int) -> None:
    prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        if sys.platform.startswith("linux"):
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    except OSError:
        return False
    return state not in "ZX"


def ended(pid: int, seconds: float) -> bool:
    """Wait at most so long for the end of a process that need not be our child; tells whether it has ended."""
    deadline = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
