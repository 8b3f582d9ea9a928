"""Parameters of the shipped client updates, losses and optimizers; imports neither torch nor flwr."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedbal.params import Params


class StandardParams(Params):
    """The standard update has no parameters."""

    name: Literal["standard"] = "standard"


class ProximalParams(Params):
    """The proximal update."""

    name: Literal["proximal"] = "proximal"
    mu: Annotated[float, Field(ge=0.0)] = Field(
        1.0, description="Proximal coefficient, >= 0; 0 is the standard update."
    )


class CrossEntropyParams(Params):
    """Cross-entropy has no parameters."""

    name: Literal["cross_entropy"] = "cross_entropy"


class SGDParams(Params):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = "sgd"
    lr: Annotated[float, Field(gt=0.0)] = Field(0.1, description="Learning rate, > 0.")
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.0, description="Momentum in [0, 1).")
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(0.0, description="L2 coefficient, >= 0.")
