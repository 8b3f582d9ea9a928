"""Trackers: who follows runs beside the run directory. They decide nothing and a broken one ends no run."""

from __future__ import annotations

from fedbal.registry import Entry, Table

TRACKERS = Table(
    "tracker",
    {
        "tensorboard": Entry(
            "fedbal.track.tensorboard:TensorBoard",
            "fedbal.track.params:TensorBoardParams",
            "event files for TensorBoard",
        ),
        "mlflow": Entry(
            "fedbal.track.mlflow:MLflow",
            "fedbal.track.params:MLflowParams",
            "runs of an MLflow experiment, in a folder or on a server",
        ),
    },
)

__all__ = ["TRACKERS"]
