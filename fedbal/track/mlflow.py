"""MLflow: one run of an experiment a run, through its client alone; no global state of it is touched."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbal.track.base import DIVERGED, FINISHED, INTERRUPTED, TrackedRun, Tracker, missing, quiet, texts_of

AT_ONCE = 100
"""Parameters, and metrics by hundreds, that MLflow takes in one call."""
LONGEST = 500
"""Letters of a parameter that every backend takes."""
LAST = "round"
"""Metric whose history says which rounds are there."""
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Unless the user has set them: report nothing home, allow folders, do not hold up a run for a dead server."""
STATUS = {FINISHED: "FINISHED", DIVERGED: "FINISHED", INTERRUPTED: "KILLED"}


class MLflow(Tracker):
    """Logs to a folder, a database or a server.

    Parameters
    ----------
    uri : str, optional
        A folder or a tracking URI; None: ``MLFLOW_TRACKING_URI``, else the folder ``mlruns``.
    experiment : str (default: "fedbal")
        Experiment; made if it does not exist.
    """

    def __init__(self, uri: str | None = None, experiment: str = "fedbal") -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise missing("mlflow") from error
        quiet("mlflow")
        given = uri or os.environ.get("MLFLOW_TRACKING_URI") or "mlruns"
        self._uri = given if ":" in given else Path(given).expanduser().absolute().as_uri()
        self._client: Any = MlflowClient(self._uri)
        self._experiment = experiment
        self._run = ""
        self._done = 0

    def begin(self, run: TrackedRun) -> str:
        """Make a run, or open the one of before again."""
        if run.place:
            self._run = run.place
            self._client.update_run(self._run, status="RUNNING")
            history = self._client.get_metric_history(self._run, LAST)
            self._done = max((point.step for point in history), default=0)
            return self._run
        tags = {"fedbal.directory": str(run.directory), "fedbal.scenario": run.name}
        name = run.directory.name
        made = self._client.create_run(self._experiment_id(), tags=tags, run_name=name)
        self._run = str(made.info.run_id)
        self._log_params(run.params)
        return self._run

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log a round, unless it is there from before the run was stopped."""
        if step > self._done:
            self._log({LAST: float(step), **scalars}, step)

    def end(self, status: str, scalars: Mapping[str, float]) -> None:
        """Log the summary and set the status."""
        if not self._run:
            return
        if scalars:
            self._log({f"summary.{name}": value for name, value in scalars.items()}, 0)
        self._client.set_tag(self._run, "fedbal.status", status)
        self._client.set_terminated(self._run, STATUS.get(status, "FAILED"))
        self._run = ""

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(self._experiment))
        except Exception:
            # Another process made it meanwhile.
            found = self._client.get_experiment_by_name(self._experiment)
            if found is None:
                raise
            return str(found.experiment_id)

    def _log_params(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        all_of_them = [Param(name, str(value)[:LONGEST]) for name, value in texts_of(params).items()]
        for start in range(0, len(all_of_them), AT_ONCE):
            self._client.log_batch(self._run, params=all_of_them[start : start + AT_ONCE])

    def _log(self, scalars: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(name, value, now, step) for name, value in scalars.items()]
        for start in range(0, len(points), AT_ONCE):
            self._client.log_batch(self._run, metrics=points[start : start + AT_ONCE])
