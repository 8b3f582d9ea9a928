"""TensorBoard: one folder of event files a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbal.track.base import TrackedRun, Tracker, missing, texts_of

FOLDER = "tensorboard"


class TensorBoard(Tracker):
    """Writes event files with torch's own writer.

    Parameters
    ----------
    dir : str, optional
        Folder that gets one folder a run; None: ``tensorboard`` in the run directory.
    """

    def __init__(self, dir: str | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing("tensorboard") from error
        self._make = SummaryWriter
        self._dir = dir
        self._writer: Any = None
        self._params: dict[str, Any] = {}

    def begin(self, run: TrackedRun) -> str:
        """Open the folder of the run; rounds that are repeated take the place of what was there."""
        folder = Path(run.place) if run.place else self._folder(run.directory)
        again = run.first_round if run.place else None
        self._writer = self._make(str(folder), purge_step=again)
        self._params = texts_of(run.params)
        if not run.place:
            self._writer.add_text("scenario", f"```yaml\n{run.yaml}```")
            self._writer.add_text("directory", str(run.directory))
        self._writer.flush()
        return str(folder)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write one scalar a number."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self, status: str, scalars: Mapping[str, float]) -> None:
        """Write status, parameters and final numbers, and close."""
        if self._writer is None:
            return
        self._writer.add_text("status", status)
        final = {name: value for name, value in scalars.items() if name.startswith("final.")}
        if final:
            self._writer.add_hparams(self._params, final, run_name=".")
        self._writer.close()
        self._writer = None

    def _folder(self, directory: Path) -> Path:
        """Return a folder that no other run has."""
        if self._dir is None:
            return directory / FOLDER
        wanted = Path(self._dir).expanduser().absolute() / directory.name
        number = 1
        folder = wanted
        while folder.exists():
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        return folder
