"""Parameters of the trackers; imports neither torch nor flwr nor a tracker."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedbal.params import Params

Text = Annotated[str, Field(min_length=1)]


class TensorBoardParams(Params):
    """TensorBoard's event files."""

    name: Literal["tensorboard"] = "tensorboard"
    dir: Text | None = Field(
        None,
        description="Folder that gets one folder a run, from the current folder; left out: tensorboard in the run "
        "directory.",
    )


class MLflowParams(Params):
    """MLflow."""

    name: Literal["mlflow"] = "mlflow"
    uri: Text | None = Field(
        None,
        description="Where runs are kept: a folder, from the current folder, or a tracking URI; left out: "
        "MLFLOW_TRACKING_URI, else the folder mlruns.",
    )
    experiment: Text = Field("fedbal", description="Experiment; made if it does not exist.")
