"""Runs the cells of a study in spawned processes, one thread each; what is done already is not done again."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.reproduce.record import address, execute, kept, single_thread
from benchmarks.reproduce.studies import find_study
from benchmarks.reproduce.study import Cell, Study

Say = Callable[[str], None]


def run_cells(
    study: Study, cells: list[Cell], folder: Path, *, workers: int = 1, say: Say = print
) -> list[dict[str, Any]]:
    """Run cells and return their records in the order of the cells.

    Parameters
    ----------
    study : Study
        What they belong to.
    cells : list of Cell
        What to run.
    folder : Path
        Where records are kept and found again.
    workers : int
        Processes; with 1 the work is done in this process.
    say : callable
        Receives a line a run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    waiting = {address(cell): cell for cell in cells if kept(cell, folder) is None}
    progress = _Progress(len(waiting), workers, say)
    if len(waiting) < len(cells):
        say(f"{study.name}: {len(cells) - len(waiting)} of {len(cells)} runs are there already")
    if workers == 1:
        for cell in waiting.values():
            progress.finished(execute(study, cell, folder))
    else:
        single_thread()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
            jobs = [pool.submit(_execute, study.name, cell, folder) for cell in waiting.values()]
            try:
                for job in as_completed(jobs):
                    progress.finished(job.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.kill()
                raise
    return [kept(cell, folder) or _failed(cell, folder) for cell in cells]


def _end_with_parent() -> None:
    """End a worker when the process that started it is gone; it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _execute(study: str, cell: Cell, folder: Path) -> dict[str, Any]:
    return execute(find_study(study), cell, folder)


def _failed(cell: Cell, folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / f"{address(cell)}.json").read_text())
    return record | {"setting": cell.setting, "arm": cell.arm}


class _Progress:
    """Says what is done and guesses what is left from the mean so far."""

    def __init__(self, runs: int, workers: int, say: Say) -> None:
        self._runs, self._workers, self._say = runs, workers, say
        self._done, self._start = 0, time.monotonic()

    def finished(self, record: dict[str, Any]) -> None:
        self._done += 1
        left = (time.monotonic() - self._start) / self._done * (self._runs - self._done)
        outcome = record["status"] if record["status"] != "failed" else f"failed: {record['reason']}"
        self._say(
            f"{self._done}/{self._runs} {record['setting']} {record['arm']} seed {record['seed']}: {outcome}, "
            f"{record['seconds']:.0f} s; about {left / 60.0:.0f} min left"
        )
