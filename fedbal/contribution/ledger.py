"""What trained coalitions came to, on disk: each is written down when it is done and never trained again."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedbal.errors import UsageError
from fedbal.results import disk_errors, read_rows, require_empty, to_json, write_atomically

IDENTITY = "identity.json"
ROWS = "coalitions.jsonl"


class Ledger:
    """Results of trainings by what was trained; holds a lock, so that no second process adds to it.

    Parameters
    ----------
    path : Path
        Directory; new, empty, or that of the same computation.
    identity : mapping
        What decides the results, JSON-ready; a directory with another one is refused.

    Raises
    ------
    UsageError
        The directory holds something else or is in use.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        known = path / IDENTITY
        if not known.exists():
            require_empty(path)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            self._file = (path / ROWS).open("ab", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._found = self._open(known, json.loads(to_json(identity)))
        except BlockingIOError:
            self._file.close()
            raise UsageError(f"{path} is in use by another running process; wait or stop it.") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def lookup(self, run: str, key: str) -> Any:
        """Return a result; None if there is none yet."""
        return self._found.get((run, key))

    def result(self, run: str, key: str, compute: Callable[[], Any]) -> Any:
        """Return the result of a training; compute and write it down if it is not known.

        Parameters
        ----------
        run : str
            Kind of training: a coalition, a repetition, a rule.
        key : str
            Which one.
        compute : callable
            Does the work; its result is JSON-ready.
        """
        if (run, key) not in self._found:
            value = compute()
            with disk_errors(self.path):
                self._file.write(to_json({"run": run, "key": key, "value": value}).encode() + b"\n")
            self._found[run, key] = value
        return self._found[run, key]

    def _open(self, known: Path, identity: dict[str, Any]) -> dict[tuple[str, str], Any]:
        if known.exists():
            before = json.loads(known.read_text())
            differ = [key for key in identity if before.get(key) != identity[key]]
            if differ:
                raise UsageError(
                    f"{self.path} holds contributions of something else (different: {', '.join(differ)}); "
                    "choose another --out."
                )
        else:
            with disk_errors(self.path):
                write_atomically(known, json.dumps(identity, indent=2).encode())
        rows = self.path / ROWS
        content = rows.read_bytes()
        # What follows the last newline was being written when the process was killed.
        os.truncate(rows, content.rfind(b"\n") + 1)
        return {(row["run"], row["key"]): row["value"] for row in read_rows(rows)}
