"""Parameters of the shipped models, with ranges and defaults; imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedbal.measures.names import CLASSIFICATION, SEGMENTATION, TaskName
from fedbal.params import Params

Units = Annotated[int, Field(ge=1)]


class ClassifierParams(Params):
    """A model that gives a row one class."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a class."""
        return CLASSIFICATION


class LogisticParams(ClassifierParams):
    """Logistic regression has no parameters."""

    name: Literal["logistic"] = "logistic"


class MLPParams(ClassifierParams):
    """Fully connected network."""

    name: Literal["mlp"] = "mlp"
    hidden: list[Units] = Field(
        [64],
        min_length=1,
        description="Units of each hidden layer, >= 1, from input to output; without any, choose logistic.",
    )


class CNNParams(ClassifierParams):
    """The small convolutional network has no parameters: its sizes are the published ones."""

    name: Literal["cnn"] = "cnn"


class ResNet18GNParams(ClassifierParams):
    """ResNet-18 with GroupNorm."""

    name: Literal["resnet18_gn"] = "resnet18_gn"
    width: Annotated[int, Field(ge=2, multiple_of=2)] = Field(
        64,
        description="Channels of the first stage, even and >= 2; the later stages have 2, 4 and 8 times as "
        "many. 64 is the published network.",
    )


class UNetParams(Params):
    """Small U-Net with GroupNorm."""

    name: Literal["unet"] = "unet"
    width: Annotated[int, Field(ge=2, multiple_of=2)] = Field(
        8,
        description="Channels at full resolution, even and >= 2; the two levels below have 2 and 4 times as many.",
    )

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a mask."""
        return SEGMENTATION
