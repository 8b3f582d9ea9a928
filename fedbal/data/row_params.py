"""Parameters of what is done to rows and labels: preprocessing, feature shift, label noise; needs pydantic only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from fedbal.measures.names import CLASSIFICATION, TaskName
from fedbal.params import Params

Rate = Annotated[float, Field(ge=0.0, le=1.0)]
Degrees = Annotated[float, Field(ge=-360.0, le=360.0)]


class PreprocessParams(Params):
    """Imputation and scaling by training rows only, never by pooled data."""

    impute: Literal["none", "median", "mean"] = Field(
        "none",
        description="What replaces a missing value. A federated median is off by at most 1/2048 of the range.",
    )
    scale: Literal["none", "standard", "minmax"] = Field(
        "none", description="To mean 0 and standard deviation 1, or to [0, 1] over the training rows."
    )
    fit: Literal["client", "federated"] = Field(
        "federated",
        description="Each client's own statistics, or those of all clients, asked for by messages.",
    )


class FeatureShiftParams(Params):
    """What every feature shift declares."""

    global_test: Literal["none", "clients"] = Field(
        "none",
        description="none: the global test set is not shifted; clients: each of its rows as those of a client "
        "drawn by its training rows.",
    )

    def bounds(self) -> dict[str, Any]:
        """Return what strengths are drawn from."""
        raise NotImplementedError


class RotationParams(FeatureShiftParams):
    """Images rotated by angles that differ from client to client."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose labels stay when an image is turned."""
        return CLASSIFICATION

    name: Literal["rotation"] = "rotation"
    max_degrees: Annotated[float, Field(ge=0.0, le=360.0)] | None = Field(
        None,
        description="Angles are uniform up to it in both directions, in [0, 360]; 45 unless angles is given.",
    )
    angles: Annotated[list[Degrees], Field(min_length=1)] | None = Field(
        None, description="Angles to draw from instead, counter-clockwise, in [-360, 360]."
    )
    spread: Literal["random", "even"] = Field(
        "random",
        description="random: a client's angle is drawn; even: angles in turn, or evenly spaced up to max_degrees.",
    )
    mixture: Annotated[float, Field(gt=0.0)] | None = Field(
        None,
        description="A client's images differ: its shares of the angles are a Dirichlet draw of this total "
        "concentration, > 0, and each image has its own angle. FedBR has 1. Left out: one angle a client.",
    )
    global_test: Literal["none", "clients", "angles"] = Field(  # type: ignore[assignment]
        "none",
        description="none: the global test set is not shifted; clients: each of its rows as those of a client "
        "drawn by its training rows; angles: the angles in turn, so in equal shares.",
    )

    @field_validator("angles")
    @classmethod
    def _not_both(cls, value: list[float] | None, info: ValidationInfo) -> list[float] | None:
        if value is not None and info.data.get("max_degrees") is not None:
            raise ValueError("max_degrees is given too and only one of the two can hold; delete one of them")
        return value

    @model_validator(mode="after")
    def _some_angle(self) -> RotationParams:
        if self.angles is None and (self.mixture is not None or self.global_test == "angles"):
            key = "mixture" if self.mixture is not None else "global_test: angles"
            raise ValueError(f"{key} needs angles; list them, as in angles: [0, 45, 90]")
        if self.mixture is not None and self.spread == "even":
            raise ValueError(
                "spread: even gives each client one angle and mixture several; delete one of them"
            )
        if self.max_degrees is None and self.angles is None:
            object.__setattr__(self, "max_degrees", 45.0)
        return self

    def bounds(self) -> dict[str, Any]:
        """Return the angles, or the range of angles, and how clients get theirs."""
        more: dict[str, Any] = {} if self.spread == "random" else {"even": True}
        if self.angles is not None:
            mixed = {} if self.mixture is None else {"concentration": self.mixture}
            return {"choices": self.angles, **mixed, **more}
        most = self.max_degrees or 0.0
        return {"low": -most, "high": most, **more}


class GaussianNoiseParams(FeatureShiftParams):
    """Each client's inputs with white noise of its own standard deviation."""

    name: Literal["gaussian_noise"] = "gaussian_noise"
    std: Annotated[float, Field(ge=0.0)] = Field(
        0.1,
        description="Largest standard deviation, >= 0; a client's is uniform up to it. Pixels count from 0 to 1.",
    )

    def bounds(self) -> dict[str, Any]:
        """Return the range of standard deviations."""
        return {"low": 0.0, "high": self.std}


class BrightnessParams(FeatureShiftParams):
    """Each client's images brighter or darker by its own constant."""

    name: Literal["brightness"] = "brightness"
    max_delta: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.2, description="Largest constant added to pixels of 0 to 1, in [0, 1]; a client's is uniform in +-."
    )

    def bounds(self) -> dict[str, Any]:
        """Return the range of added constants."""
        return {"low": -self.max_delta, "high": self.max_delta}


ShiftParams = Annotated[
    Annotated[RotationParams | GaussianNoiseParams | BrightnessParams, Field(discriminator="name")],
    BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value),
]


class LabelNoiseParams(Params):
    """Wrong training labels at some clients; tests keep their labels."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a class."""
        return CLASSIFICATION

    kind: Literal["symmetric", "class_pair"] = Field(
        "symmetric", description="A wrong label is any other class, or always the next one."
    )
    rate: Rate | Annotated[list[Rate], Field(min_length=2, max_length=2)] = Field(
        0.2,
        description="Share of wrong labels at a noisy client, in [0, 1]; [low, high]: each draws its own.",
    )
    clients: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="Share of the clients that are noisy, in (0, 1]."
    )
    validation: bool = Field(
        False, description="Whether validation labels are wrong too; test labels never are."
    )

    @field_validator("rate")
    @classmethod
    def _ascending(cls, value: float | list[float]) -> float | list[float]:
        if isinstance(value, list) and value[0] > value[1]:
            raise ValueError(f"must ascend; did you mean [{value[1]:g}, {value[0]:g}]?")
        return value
