"""Runs one row in a process of its own: its clock, its peak memory, its result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MARK = "FEDBAL_SPEED_RUN"
TIMEOUT = 400.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Run:
    """One repeat of a row.

    Attributes
    ----------
    seconds : float
        Wall time of the whole process.
    start : float or None
        Seconds from the start of the process to the end of the first round.
    round : float or None
        Mean seconds of a round after the warm ones.
    accuracy, loss : float or None
        On the test rows, after the last round.
    memory : int or None
        Peak bytes: private memory of all its processes and the largest shared part.
    gpu_memory : int or None
        Peak bytes on the GPU.
    error : str or None
        Why there is no result.
    details : dict
        What else the row reported (engine, notes).
    """

    seconds: float
    start: float | None = None
    round: float | None = None
    accuracy: float | None = None
    loss: float | None = None
    memory: int | None = None
    gpu_memory: int | None = None
    error: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def run_once(
    command: Sequence[str], task: Path | None, rounds: int, warm: int, *, cache: Path, gpu: bool = False
) -> Run:
    """Run a command of a row once.

    Parameters
    ----------
    command : sequence of str
        What follows ``python -m``.
    task : Path, optional
        Task folder, for commands that take one.
    rounds, warm : int
        Rounds, and how many of them are not counted.
    cache : Path
        Folder that outlives the run, for compiled code.
    gpu : bool
        Watch the memory of the GPU too.
    """
    with tempfile.TemporaryDirectory(prefix="fedbal-speed-") as folder:
        out, log = Path(folder) / "result.json", Path(folder) / "log.txt"
        arguments = [*command, "--out", str(out)]
        if task is not None:
            arguments += ["--task", str(task), "--rounds", str(rounds)]
        mark = uuid.uuid4().hex
        with log.open("wb") as text, _Watch(mark, gpu) as watch:
            began = time.time()
            code = _wait(arguments, text, environment(cache, Path(folder), mark), mark)
            seconds = time.time() - began
        if code != 0 or not out.exists():
            what = f"no result after {TIMEOUT:g} s" if code is None else f"exit code {code}"
            return Run(seconds, error=f"{what}: {_last_lines(log)}")
        return summarise(json.loads(out.read_text()), began, seconds, warm, watch.peak, watch.gpu_peak)


def summarise(
    result: Mapping[str, Any],
    began: float,
    seconds: float,
    warm: int,
    memory: int | None,
    gpu_memory: int | None = None,
) -> Run:
    """Return what one result says; ``began`` is when its process did, ``warm`` rounds are not counted."""
    ends = result.get("ends", [])
    counted = len(ends) - warm
    return Run(
        seconds,
        start=ends[0] - began if ends else None,
        round=(ends[-1] - ends[warm - 1]) / counted if counted > 0 else None,
        accuracy=result.get("accuracy"),
        loss=result.get("loss"),
        memory=memory,
        gpu_memory=gpu_memory,
        details={key: value for key, value in result.items() if key not in ("ends", "accuracy", "loss")},
    )


def environment(cache: Path, folder: Path, mark: str) -> dict[str, str]:
    """Return the environment of a row: one thread a process, no telemetry, caches in ``cache``."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        **threads,
        **quiet,
        "PYTHONPATH": path,
        "FLWR_HOME": str(folder / "flwr"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        MARK: mark,
    }


def _wait(arguments: Sequence[str], log: Any, env: dict[str, str], mark: str) -> int | None:
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=log, stderr=subprocess.STDOUT, env=env, cwd=ROOT
    )
    try:
        return process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Ray leaves processes behind when its driver dies; those that carry the mark are this run's own.
        if process.poll() is None:
            process.kill()
        for pid in marked(mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()


def marked(mark: str, known: dict[int, bool] | None = None) -> list[int]:
    """Return the processes started by a run: those whose environment carries its mark; Linux only."""
    found, wanted, known = [], f"{MARK}={mark}".encode(), {} if known is None else known
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if not known.get(pid):
            try:
                known[pid] = wanted in (entry / "environ").read_bytes()
            except OSError:
                known[pid] = False
        if known[pid]:
            found.append(pid)
    return found


class _Watch:
    """Samples the memory of a run's processes ten times in three seconds."""

    def __init__(self, mark: str, gpu: bool) -> None:
        self.peak: int | None = None
        self.gpu_peak: int | None = None
        self._mark, self._gpu = mark, gpu
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _Watch:
        if Path("/proc/self/status").exists():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _sample(self) -> None:
        known: dict[int, bool] = {}
        while not self._stop.wait(0.3):
            used = used_bytes(marked(self._mark, known))
            self.peak = max(self.peak or 0, used)
            if self._gpu:
                self.gpu_peak = max(self.gpu_peak or 0, _gpu_bytes())


def used_bytes(pids: Sequence[int]) -> int:
    """Return the private memory of all processes plus the largest file-backed and shared part of one."""
    private, files, shared = 0, 0, 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        parts = dict(line.split(":", 1) for line in text.splitlines() if line.startswith("Rss"))
        sizes = {name: int(value.split()[0]) * 1024 for name, value in parts.items()}
        private += sizes.get("RssAnon", 0)
        files, shared = max(files, sizes.get("RssFile", 0)), max(shared, sizes.get("RssShmem", 0))
    return private + files + shared


def _gpu_bytes() -> int:
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        text = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return max((int(line) for line in text.split()), default=0) * 2**20


def _last_lines(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-500:]
