"""Parameters of the shipped models, with ranges and defaults; imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedbal.params import Params

Units = Annotated[int, Field(ge=1)]


class LogisticParams(Params):
    """Logistic regression has no parameters."""

    name: Literal["logistic"] = "logistic"


class MLPParams(Params):
    """Fully connected network."""

    name: Literal["mlp"] = "mlp"
    hidden: list[Units] = Field(
        [64],
        min_length=1,
        description="Units of each hidden layer, >= 1, from input to output; without any, choose logistic.",
    )


class CNNParams(Params):
    """The small convolutional network has no parameters: its sizes are the published ones."""

    name: Literal["cnn"] = "cnn"


class ResNet18GNParams(Params):
    """ResNet-18 with GroupNorm."""

    name: Literal["resnet18_gn"] = "resnet18_gn"
    width: Annotated[int, Field(ge=2, multiple_of=2)] = Field(
        64,
        description="Channels of the first stage, even and >= 2; the later stages have 2, 4 and 8 times as "
        "many. 64 is the published network.",
    )
