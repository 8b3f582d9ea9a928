"""Parameters of weightings and server optimizers, of which rules are presets; imports no torch, no flwr."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedbal.measures.names import CLASSIFICATION, TaskName
from fedbal.params import Params
from fedbal.search_space import OneOf, Range

NonNegative = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
Initial = Literal["tau_squared", "zero"]


class SamplesParams(Params):
    """Sample counts need no parameters."""

    name: Literal["samples"] = "samples"


class UniformWeightingParams(Params):
    """Equal weights need no parameters."""

    name: Literal["uniform"] = "uniform"


class DiscoParams(Params):
    """How strongly discrepancy lowers a client's weight."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a class."""
        return CLASSIFICATION

    a: Annotated[NonNegative, Range(0.0, 1.0)] = Field(
        0.5, description="Weight of the discrepancy, >= 0. a = b = 0 is FedAvg."
    )
    b: Annotated[NonNegative, Range(0.0, 0.5)] = Field(
        0.1, description="Offset added to every client before clipping at 0, >= 0."
    )
    metric: Literal["kl", "l2", "l1", "cosine", "only_iid"] = Field(
        "kl", description="Distance between a client's label distribution and the target."
    )
    normalise: bool = Field(
        True,
        description="Divide kl discrepancies by their sum over the cohort, as the official code does; "
        "false is the formula as printed in the paper. Concerns kl only.",
    )
    target: list[Positive] | None = Field(
        None, description="Target label distribution, one positive number a class; left out: uniform."
    )
    scale_by_cohort: bool = Field(False, description="Divide a and b by the number of participants.")


class DiscoWeightingParams(DiscoParams):
    """FedDisco as a weighting for other rules."""

    name: Literal["feddisco"] = "feddisco"


class Momentum(Params):
    """Momentum on the server."""

    beta: Annotated[Decay, OneOf((0.0, 0.5, 0.7, 0.9, 0.97))] = Field(
        0.9, description="Momentum, in [0, 1); 0 with lr 1 is FedAvg."
    )
    lr: Annotated[Positive, Range(0.01, 10.0, log=True)] = Field(
        1.0, description="Server learning rate, > 0."
    )
    damped: bool = Field(False, description="Scale the new update by 1 - beta, as FedDisco's official code.")


class MomentumParams(Momentum):
    """Momentum as a server optimizer for other rules."""

    name: Literal["momentum"] = "momentum"


class Moments(Params):
    """What the adaptive server optimizers share."""

    lr: Annotated[Positive, Range(0.001, 10.0, log=True)] = Field(
        0.1, description="Server learning rate, > 0."
    )
    beta1: Decay = Field(0.9, description="Decay of the first moment, in [0, 1).")
    tau: Annotated[Positive, Range(1e-5, 0.1, log=True)] = Field(
        1e-3, description="Degree of adaptivity, > 0."
    )
    initial: Initial = Field(
        "tau_squared",
        description="Second moment at the start: tau squared as in the paper, or zero as in Flower.",
    )


class SecondMoment(Moments):
    """Adam and Yogi also decay the second moment."""

    beta2: Decay = Field(0.99, description="Decay of the second moment, in [0, 1).")


class AdaptiveParams(SecondMoment):
    """Adaptive optimization as a server optimizer for other rules."""

    name: Literal["adaptive"] = "adaptive"
    kind: Literal["adam", "yogi", "adagrad"] = Field("adam", description="How the second moment advances.")
    bias_correction: bool = Field(False, description="Bias correction as in Flower's FedAdam.")


class UniformAvailabilityParams(Params):
    """Uniform availability has no parameters."""

    name: Literal["uniform"] = "uniform"


class SizeProportionalParams(Params):
    """Size-proportional availability has no parameters."""

    name: Literal["size_proportional"] = "size_proportional"


class LabelCorrelatedParams(Params):
    """Availability that goes up and down with a client's dominant class."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a class."""
        return CLASSIFICATION

    name: Literal["label_correlated"] = "label_correlated"
    period: Annotated[float, Field(gt=0.0)] = Field(
        20.0, description="Rounds after which availability repeats, > 0."
    )
    strength: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        1.0,
        description="How far availability falls, in [0, 1]: between 1 - strength and 1. 0: always available.",
    )
