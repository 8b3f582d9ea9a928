"""Parameters of the shipped client updates, losses and optimizers; imports neither torch nor flwr."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from clients import SCHEDULES
from fedbal.components import Choice, Component
from fedbal.measures.names import CLASSIFICATION, SEGMENTATION, TaskName, tasks_of_score
from fedbal.params import CustomParams, Params
from fedbal.search_space import OneOf, Range

Rate = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Factor = Annotated[float, Field(gt=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]


class StandardParams(Params):
    """The standard update has no parameters."""

    name: Literal["standard"] = "standard"


class ProximalParams(Params):
    """The proximal update."""

    name: Literal["proximal"] = "proximal"
    mu: Annotated[NonNegative, Range(0.001, 10.0, log=True)] = Field(
        1.0, description="Proximal coefficient, >= 0; 0 is the standard update."
    )


class CrossEntropyParams(Params):
    """Cross-entropy has no parameters."""

    name: Literal["cross_entropy"] = "cross_entropy"


class ConstantParams(Params):
    """The same rate in every round."""

    name: Literal["constant"] = "constant"


class CosineParams(Params):
    """Half a cosine over the rounds of the run."""

    name: Literal["cosine"] = "cosine"
    final: Share = Field(0.0, description="Share of the rate that is left at the end, in [0, 1].")


class StepParams(Params):
    """A drop every so many rounds."""

    name: Literal["step"] = "step"
    every: Count = Field(description="Rounds between two drops, >= 1.")
    gamma: Factor = Field(0.1, description="Factor of a drop, in (0, 1].")


class ExponentialParams(Params):
    """The same factor from each round to the next."""

    name: Literal["exponential"] = "exponential"
    gamma: Factor = Field(description="Factor from one round to the next, in (0, 1].")


class WarmupCosineParams(Params):
    """A linear rise, then half a cosine over the remaining rounds."""

    name: Literal["warmup_cosine"] = "warmup_cosine"
    warmup_rounds: Count = Field(description="Rounds until the full rate, >= 1.")
    start: Factor = Field(0.1, description="Share of the rate in the first round, in (0, 1].")
    final: Share = Field(0.0, description="Share of the rate that is left at the end, in [0, 1].")


Schedule = Annotated[Component, Choice(SCHEDULES)]
SCHEDULE = Field(
    default_factory=ConstantParams,
    description="Learning rate over the rounds: a factor on lr that is the same for all clients of a round.",
)


class OptimizerParams(Params):
    """What every optimizer declares."""

    schedule: Schedule = SCHEDULE

    def kwargs(self) -> dict[str, Any]:
        """Return the constructor arguments: the schedule is applied around the optimizer."""
        return {key: value for key, value in super().kwargs().items() if key != "schedule"}


class CustomOptimizerParams(CustomParams):
    """A user's own optimizer; with a schedule it keeps its rate in an attribute ``lr``."""

    schedule: Schedule = SCHEDULE


class SGDParams(OptimizerParams):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = "sgd"
    lr: Annotated[Rate, Range(0.001, 1.0, log=True)] = Field(0.1, description="Learning rate, > 0.")
    momentum: Decay = Field(0.0, description="Momentum in [0, 1).")
    weight_decay: NonNegative = Field(0.0, description="L2 coefficient, >= 0.")
    nesterov: bool = Field(False, description="Nesterov's momentum; needs momentum > 0.")

    @field_validator("nesterov")
    @classmethod
    def _with_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("momentum") == 0.0:
            raise ValueError("needs client.optimizer.momentum > 0; give one, or leave nesterov out")
        return value


class AdamParams(OptimizerParams):
    """Adam."""

    name: Literal["adam"] = "adam"
    lr: Annotated[Rate, Range(1e-5, 0.1, log=True)] = Field(0.001, description="Learning rate, > 0.")
    beta1: Decay = Field(0.9, description="Decay of the first moment, in [0, 1).")
    beta2: Decay = Field(0.999, description="Decay of the second moment, in [0, 1).")
    eps: Rate = Field(1e-8, description="Added to the denominator, > 0.")
    weight_decay: NonNegative = Field(0.0, description="L2 coefficient, >= 0.")


class AdamWParams(AdamParams):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    weight_decay: NonNegative = Field(0.01, description="Decoupled decay coefficient, >= 0.")


class AugmentParams(Params):
    """Random changes of training images."""

    crop_padding: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Pixels of zeros around a training image before a random crop back to its size, >= 0; 0: no "
        "crop.",
    )
    horizontal_flip: bool = Field(False, description="Mirror a training image with probability 1/2.")


class ScaffoldParams(Params):
    """SCAFFOLD's local steps have no parameters."""

    name: Literal["scaffold"] = "scaffold"


class LocalOnlyParams(Params):
    """Training alone has no parameters."""

    name: Literal["local_only"] = "local_only"


class FineTunedParams(Params):
    """Fine-tuning of the received model before it is evaluated."""

    name: Literal["finetuned"] = "finetuned"
    share: Factor = Field(
        0.1,
        description="Last share of the rounds in which clients fine-tune, in (0, 1]; 1: in every evaluated round.",
    )


class FedDynParams(Params):
    """FedDyn's local objective."""

    name: Literal["feddyn"] = "feddyn"
    alpha: Annotated[Rate, Range(0.001, 1.0, log=True)] = Field(
        0.01, description="Regularisation, > 0; as the strategy's."
    )


class MoonParams(Params):
    """MOON's contrastive term."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose models have one feature vector a row."""
        return CLASSIFICATION

    name: Literal["moon"] = "moon"
    mu: Annotated[NonNegative, Range(0.1, 10.0, log=True)] = Field(
        1.0, description="Weight of the contrastive term, >= 0; 0 is the standard update."
    )
    temperature: Annotated[Rate, Range(0.1, 1.0, log=True)] = Field(0.5, description="Temperature T, > 0.")
    projection: Count | None = Field(
        None,
        description="Outputs of a projection head that travels, >= 1; the paper has 256. Left out: no head.",
    )


class FedBRParams(Params):
    """FedBR's two terms on pseudo-samples."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose models have one feature vector a row."""
        return CLASSIFICATION

    name: Literal["fedbr"] = "fedbr"
    mu: Annotated[NonNegative, Range(0.05, 5.0, log=True)] = Field(
        0.5, description="Weight of the contrastive term, >= 0; 0 leaves the other alone."
    )
    lam: Annotated[NonNegative, Range(0.1, 10.0, log=True)] = Field(
        1.0, description="Weight of the balance term (lambda), >= 0; 0 leaves the other alone."
    )
    tau1: NonNegative = Field(2.0, description="Factor of the cosine to the received features, >= 0.")
    tau2: NonNegative = Field(2.0, description="Factor of the cosine to the client's own features, >= 0.")
    pseudo: Literal["rsm", "mixture"] = Field(
        "rsm", description="Pseudo-samples as sent, or each mixed half and half with an image of the batch."
    )
    images: Annotated[int, Field(ge=2)] = Field(
        10, description="Raw images in each mean that leaves the client, >= 2."
    )


class ContributionParams(Params):
    """FedCE's contribution score."""

    name: Literal["contribution"] = "contribution"
    metric: Literal["auto", "accuracy", "balanced_accuracy", "dice", "iou"] = Field(
        "auto",
        description="Score of the minus model on the client's validation data; auto: dice for masks, accuracy for "
        "classes.",
    )
    first_zero: bool = Field(True, description="Count the first round as a score of 0, as the official code.")

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks that the metric exists for."""
        return tasks_of_score(self.metric)


class FocalParams(Params):
    """Focal loss."""

    name: Literal["focal"] = "focal"
    gamma: Annotated[NonNegative, Range(0.5, 5.0)] = Field(
        2.0, description="Focusing, >= 0; 0 is cross-entropy."
    )


class DiceParams(Params):
    """Soft Dice loss."""

    name: Literal["dice"] = "dice"
    smooth: Rate = Field(1.0, description="Pixels added to numerator and denominator, > 0.")
    ce_weight: Annotated[NonNegative, Range(0.0, 2.0)] = Field(
        0.0, description="Weight of a cross-entropy of all pixels beside it, >= 0; 0: Dice alone."
    )

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a mask."""
        return SEGMENTATION


class ReadsCounts(Params):
    """A loss that reads class counts."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a class."""
        return CLASSIFICATION


class WithPrior(ReadsCounts):
    """A loss that reads class counts, the client's own or everyone's."""

    prior: Literal["local", "global"] = Field(
        "local",
        description="Class counts of the client itself, or of all clients together, asked for before round 1.",
    )


class ClassBalancedParams(WithPrior):
    """Class-balanced cross-entropy."""

    name: Literal["class_balanced"] = "class_balanced"
    beta: Annotated[Decay, OneOf((0.9, 0.99, 0.999, 0.9999))] = Field(
        0.9999, description="In [0, 1); 0 is cross-entropy."
    )


class BalancedSoftmaxParams(WithPrior):
    """Balanced softmax."""

    name: Literal["balanced_softmax"] = "balanced_softmax"
    absent: Literal["mask", "floor1"] = Field("mask", description="What to do with a class without samples.")


class LogitAdjustmentParams(WithPrior):
    """Logit-adjusted cross-entropy."""

    name: Literal["logit_adjustment"] = "logit_adjustment"
    tau: Annotated[NonNegative, Range(0.25, 4.0, log=True)] = Field(
        1.0,
        description="Strength, >= 0; 0 is cross-entropy, over the classes present where absent ones are masked.",
    )
    absent: Literal["mask", "floor1"] = Field("mask", description="What to do with a class without samples.")


class FedLCParams(ReadsCounts):
    """Logits calibration."""

    name: Literal["fedlc"] = "fedlc"
    tau: Annotated[NonNegative, Range(0.1, 10.0, log=True)] = Field(
        1.0, description="Strength, >= 0; 0 is cross-entropy over the classes present."
    )


class FedRSParams(ReadsCounts):
    """Restricted softmax."""

    name: Literal["fedrs"] = "fedrs"
    alpha: Annotated[Share, Range(0.0, 1.0)] = Field(0.5, description="In [0, 1]; 1 is cross-entropy.")
