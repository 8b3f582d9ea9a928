"""A client's own state on its site's disk, one version a round, so that a repeated round starts as it did."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from flwr.app import RecordDict

from fedbal.records import from_bytes, to_bytes
from fedbal.results import disk_errors, write_atomically

_FILE = re.compile(r"round-(\d+)\.state")
_KEY = re.compile(r"[0-9A-Za-z-]{1,80}")
KEPT_DAYS = 90.0
"""States of other runs that were not touched for so long are removed."""


class SiteStates:
    """The states of one client in one run.

    Parameters
    ----------
    folder : Path
        Where the site keeps the states of all runs.
    run : str
        Key of the run, the same after a restart of the coordinator.

    Raises
    ------
    ValueError
        The key is no file name of ours.
    """

    def __init__(self, folder: Path, run: str) -> None:
        if not _KEY.fullmatch(run):
            raise ValueError(f"the key of a run is letters, digits and hyphens, got {run!r}")
        self._folder = folder / run

    def rounds(self) -> list[int]:
        """Return the rounds after which a state is kept, ascending."""
        if not self._folder.is_dir():
            return []
        found = [_FILE.fullmatch(path.name) for path in self._folder.iterdir()]
        return sorted(int(match[1]) for match in found if match is not None)

    def at(self, version: int) -> RecordDict:
        """Return the state as it was after round ``version``; empty if there was none."""
        known = [number for number in self.rounds() if number <= version]
        return from_bytes(self._path(known[-1]).read_bytes()) if known else RecordDict()

    def put(self, number: int, version: int, saved: int, state: RecordDict) -> None:
        """Keep the state after round ``number``, which began from that after ``version``.

        What came after ``version`` belongs to a past that did not count and goes, as does what is older than the
        state after the coordinator's checkpoint of round ``saved``.
        """
        before = self.rounds()
        if not len(state) and not before:
            return
        with disk_errors(self._folder, "free some"):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for stale in before:
                if version < stale != number:
                    self._path(stale).unlink(missing_ok=True)
            write_atomically(self._path(number), to_bytes(state))
            old = [each for each in before if each <= min(saved, version)]
            for each in old[:-1]:
                self._path(each).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"round-{number:06d}.state"


def forget_old(folder: Path, days: float = KEPT_DAYS) -> None:
    """Remove the states of runs that nobody has gone on with for so many days."""
    if not folder.is_dir():
        return
    for run in folder.iterdir():
        if run.is_dir() and time.time() - run.stat().st_mtime > days * 86_400.0:
            shutil.rmtree(run, ignore_errors=True)
