"""A little local training, in a process of its own: ``python -m fedbal.deployment.trial``.

A build of torch for another processor ends the process that imports it (illegal instruction); the device check
lives on and says so.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time

from fedbal.deployment.checks import MB, Check, Status

SECONDS = 300.0
"""More than a slow board takes to import torch and train on 100 rows."""
SLOW_MS = 1000.0
"""A client update of the small model that takes longer, in milliseconds, is worth a warning."""


def training(command: list[str] | None = None, seconds: float = SECONDS) -> Check:
    """Train a small model once in another process and say what it took.

    Parameters
    ----------
    command : list of str, optional
        What to start; default this module.
    seconds : float
        How long to wait.
    """
    command = command or [sys.executable, "-m", "fedbal.deployment.trial"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        fix = "this machine is too slow, or short of memory and swapping; end other programs"
        return Check("training", Status.fail, f"not done within {seconds:.0f} s", fix)
    if done.returncode < 0:
        return _killed(-done.returncode)
    if done.returncode > 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Check("training", Status.fail, last, "install fedbal and torch again, see the check of torch")
    measured = json.loads(done.stdout.splitlines()[-1])
    found = (
        f"one epoch of 100 rows in {measured['milliseconds']:.0f} ms, started in {measured['started']:.1f} s, "
        f"{measured['peak'] / MB:.0f} MB"
    )
    if measured["milliseconds"] > SLOW_MS:
        return Check(
            "training", Status.warn, found, "expect long rounds: give the scenario a long round_timeout"
        )
    return Check("training", Status.ok, found)


def _killed(number: int) -> Check:
    found = f"ended by {signal.Signals(number).name}"
    if number == signal.SIGILL:
        fix = "this torch was built for another processor: pip install an older one, down to torch==2.8.0"
    elif number == signal.SIGKILL:
        fix = "the system ended it, most likely for want of memory: end other programs, or add swap"
    else:
        fix = "install torch again: pip install --force-reinstall torch"
    return Check("training", Status.fail, found, fix)


def main() -> None:
    """Import everything that a client needs, train once, print what it took as one line of JSON."""
    begun = time.perf_counter()
    from fedbal.calibrate import Case, calibrate
    from fedbal.determinism import pinned, prepare

    started = time.perf_counter() - begun
    with pinned(1):
        prepare("cpu", "fp32")
        case = Case("mlp 64-64-10", "mlp", (64,), (), {"hidden": [64]})
        (timing,) = calibrate("cpu", lambda _: None, cases=(case,), repeats=1, compiled=False)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"started": started, "milliseconds": timing.milliseconds, "peak": peak}))


if __name__ == "__main__":
    main()
