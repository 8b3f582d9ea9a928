"""Parameters of the shipped rules, with ranges and defaults; imports neither torch nor flwr."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from fedbal.params import Params

NonNegative = Annotated[float, Field(ge=0.0)]


class StrategyParams(Params):
    """What every rule declares."""

    def client_update(self) -> dict[str, Any]:
        """Return the client update that ``client.update: auto`` stands for."""
        return {"name": "standard"}


class FedAvgParams(StrategyParams):
    """FedAvg has no parameters."""

    name: Literal["fedavg"] = "fedavg"


class FedProxParams(StrategyParams):
    """FedProx: the proximal coefficient of the clients' objective."""

    name: Literal["fedprox"] = "fedprox"
    mu: NonNegative = Field(
        1.0,
        description="Proximal coefficient, >= 0; the paper's grid is 0.001, 0.01, 0.1, 1. 0 is FedAvg.",
    )

    def client_update(self) -> dict[str, Any]:
        """Ask for the proximal update with this ``mu``."""
        return {"name": "proximal", "mu": self.mu}


class FedDiscoParams(StrategyParams):
    """FedDisco: how strongly discrepancy lowers a client's weight."""

    name: Literal["feddisco"] = "feddisco"
    a: NonNegative = Field(0.5, description="Weight of the discrepancy, >= 0. a = b = 0 is FedAvg.")
    b: NonNegative = Field(0.1, description="Offset added to every client before clipping at 0, >= 0.")
    metric: Literal["kl", "l2", "l1", "cosine", "only_iid"] = Field(
        "kl", description="Distance between a client's label distribution and the target."
    )
    normalise: bool = Field(
        True,
        description="Divide kl discrepancies by their sum over the cohort, as the official code does; "
        "false is the formula as printed in the paper. Concerns kl only.",
    )
    target: list[Annotated[float, Field(gt=0.0)]] | None = Field(
        None, description="Target label distribution, one positive number a class; left out: uniform."
    )


class UniformParams(Params):
    """Uniform availability has no parameters."""

    name: Literal["uniform"] = "uniform"


class SizeProportionalParams(Params):
    """Size-proportional availability has no parameters."""

    name: Literal["size_proportional"] = "size_proportional"


class LabelCorrelatedParams(Params):
    """Availability that goes up and down with a client's dominant class."""

    name: Literal["label_correlated"] = "label_correlated"
    period: Annotated[float, Field(gt=0.0)] = Field(
        20.0, description="Rounds after which availability repeats, > 0."
    )
    strength: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        1.0,
        description="How far availability falls, in [0, 1]: between 1 - strength and 1. 0: always available.",
    )
