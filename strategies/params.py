"""Parameters of the shipped rules, with ranges and defaults; imports neither torch nor flwr."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from fedbal.components import Choice, Component
from fedbal.measures.names import CLASSIFICATION, TaskName, tasks_of_score
from fedbal.params import Params
from fedbal.registry import Table
from fedbal.search_space import OneOf, Range
from strategies import SERVER_OPTIMIZERS, WEIGHTINGS
from strategies.parts import DiscoParams, Moments, Momentum, NonNegative, Positive, SecondMoment

WeightingChoice = Annotated[Component, Choice(WEIGHTINGS)]
OptimizerChoice = Annotated[Component, Choice(SERVER_OPTIMIZERS)]

WEIGHTING = Field(None, description="How much each client counts; left out: by sample counts.")
OPTIMIZER = Field(None, description="How the model moves along the average update; left out: all the way.")


class StrategyParams(Params):
    """What every rule declares."""

    def client_update(self) -> dict[str, Any]:
        """Return the client update that ``client.update: auto`` stands for."""
        return {"name": "standard"}

    @classmethod
    def parts(cls) -> dict[str, Table]:
        """Return the tables of nested components, by key."""
        return {"weighting": WEIGHTINGS, "server_optimizer": SERVER_OPTIMIZERS}


class Weighted(StrategyParams):
    """A rule whose weighting can be chosen."""

    weighting: WeightingChoice | None = WEIGHTING


class Averaging(Weighted):
    """A rule whose weighting and server optimizer can both be chosen."""

    server_optimizer: OptimizerChoice | None = OPTIMIZER


class FedAvgParams(Averaging):
    """FedAvg has no parameters of its own."""

    name: Literal["fedavg"] = "fedavg"


class UniformParams(StrategyParams):
    """The uniform mean has no parameters of its own."""

    name: Literal["uniform"] = "uniform"
    server_optimizer: OptimizerChoice | None = OPTIMIZER


class FedProxParams(Averaging):
    """FedProx: the proximal coefficient of the clients' objective."""

    name: Literal["fedprox"] = "fedprox"
    mu: Annotated[NonNegative, Range(0.001, 10.0, log=True)] = Field(
        1.0,
        description="Proximal coefficient, >= 0; the paper's grid is 0.001, 0.01, 0.1, 1. 0 is FedAvg.",
    )
    adaptive: bool = Field(
        False, description="Start at mu, add 0.1 when the loss rises, take 0.1 off after 5 falls in a row."
    )
    inexactness: bool = Field(
        False,
        description="Record gamma of every client, which costs it two gradients on all its data a round.",
    )

    def client_update(self) -> dict[str, Any]:
        """Ask for the proximal update with this ``mu``."""
        return {"name": "proximal", "mu": self.mu}


class FedDiscoParams(StrategyParams, DiscoParams):
    """FedDisco: FedAvg with discrepancy-aware weights."""

    name: Literal["feddisco"] = "feddisco"
    server_optimizer: OptimizerChoice | None = OPTIMIZER


class FedAvgMParams(Weighted, Momentum):
    """FedAvgM: FedAvg with momentum on the server."""

    name: Literal["fedavgm"] = "fedavgm"


class FedAdamParams(Weighted, SecondMoment):
    """FedAdam."""

    name: Literal["fedadam"] = "fedadam"
    bias_correction: bool = Field(False, description="Bias correction as in Flower's FedAdam.")


class FedYogiParams(Weighted, SecondMoment):
    """FedYogi."""

    name: Literal["fedyogi"] = "fedyogi"


class FedAdagradParams(Weighted, Moments):
    """FedAdagrad."""

    name: Literal["fedadagrad"] = "fedadagrad"


class FedNovaParams(Averaging):
    """FedNova has no parameters of its own."""

    name: Literal["fednova"] = "fednova"


class QFedAvgParams(StrategyParams):
    """q-FedAvg."""

    name: Literal["qfedavg"] = "qfedavg"
    q: Annotated[NonNegative, Range(0.001, 5.0, log=True)] = Field(
        0.1, description="Fairness, >= 0; the paper's grid ends at 5. 0 is a plain mean."
    )
    lr: Positive | None = Field(
        None, description="1 / L, > 0; left out: the local learning rate, before any schedule."
    )
    weighting: WeightingChoice | None = Field(
        None, description="How much each client counts besides its loss; left out: all the same."
    )


class LocalOnlyParams(StrategyParams):
    """Training alone has no parameters."""

    name: Literal["local_only"] = "local_only"

    def client_update(self) -> dict[str, Any]:
        """Ask for training that goes on from the client's own model."""
        return {"name": "local_only"}


class FedAvgFineTunedParams(Averaging):
    """FedAvg with fine-tuning at the clients."""

    name: Literal["fedavg_finetuned"] = "fedavg_finetuned"
    share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.1,
        description="Last share of the rounds in which clients fine-tune, in (0, 1]; 1: in every evaluated round.",
    )

    def client_update(self) -> dict[str, Any]:
        """Ask for the update that fine-tunes."""
        return {"name": "finetuned", "share": self.share}

    def kwargs(self) -> dict[str, Any]:
        """Return the rule's arguments: the share concerns the clients."""
        return {key: value for key, value in super().kwargs().items() if key != "share"}


class CentralisedParams(StrategyParams):
    """Training on pooled data has no parameters."""

    pools: ClassVar[bool] = True

    name: Literal["centralised"] = "centralised"


class ScaffoldParams(Weighted):
    """SCAFFOLD."""

    name: Literal["scaffold"] = "scaffold"
    lr: Annotated[Positive, Range(0.1, 2.0, log=True)] = Field(1.0, description="Server learning rate, > 0.")

    def client_update(self) -> dict[str, Any]:
        """Ask for corrected local steps."""
        return {"name": "scaffold"}


class FedDynParams(StrategyParams):
    """FedDyn."""

    name: Literal["feddyn"] = "feddyn"
    alpha: Annotated[Positive, Range(0.001, 1.0, log=True)] = Field(
        0.01, description="Regularisation, > 0; the usual grid is 0.001, 0.01, 0.1."
    )

    def client_update(self) -> dict[str, Any]:
        """Ask for the regularised objective with this ``alpha``."""
        return {"name": "feddyn", "alpha": self.alpha}


class FedCEParams(StrategyParams):
    """FedCE."""

    name: Literal["fedce"] = "fedce"
    mode: Annotated[Literal["plus", "times"], OneOf(("plus", "times"))] = Field(
        "plus", description="How direction and data terms meet."
    )
    prior: Literal["previous", "uniform"] = Field(
        "previous", description="Consensus weights: those of the round before, or uniform for ever."
    )

    score: Literal["auto", "accuracy", "balanced_accuracy", "dice", "iou"] = Field(
        "auto",
        description="Score of the minus model on a client's validation data; auto: dice for masks, accuracy for "
        "classes.",
    )

    def client_update(self) -> dict[str, Any]:
        """Ask for the contribution score."""
        return {"name": "contribution", "metric": self.score}

    def kwargs(self) -> dict[str, Any]:
        """Return the rule's arguments: the score is made by the clients."""
        return {key: value for key, value in super().kwargs().items() if key != "score"}

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks that the score exists for."""
        return tasks_of_score(self.score)


class ByFeatures(Averaging):
    """A rule whose clients compare the features of a row, one vector each."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose models have one feature vector a row."""
        return CLASSIFICATION


class MoonParams(ByFeatures):
    """MOON: the contrastive term of the clients' objective."""

    name: Literal["moon"] = "moon"
    mu: Annotated[NonNegative, Range(0.1, 10.0, log=True)] = Field(
        1.0, description="Weight of the contrastive term, >= 0; 0 is FedAvg."
    )
    temperature: Annotated[Positive, Range(0.1, 1.0, log=True)] = Field(
        0.5, description="Temperature T, > 0."
    )
    projection: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Outputs of a projection head that travels, >= 1; the paper has 256. Left out: no head.",
    )

    def client_update(self) -> dict[str, Any]:
        """Ask for the contrastive update with these parameters."""
        return {key: getattr(self, key) for key in ("mu", "temperature", "projection")} | {"name": "moon"}


class FedBRParams(ByFeatures):
    """FedBR: the two terms of the clients' objective, and the exchange of pseudo-samples."""

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
        10, description="Raw images in each mean that leaves a client, >= 2."
    )
    samples: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Pseudo-samples, at least client.batch_size; left out: as many."
    )

    def client_update(self) -> dict[str, Any]:
        """Ask for the update of the same name with these parameters."""
        kept = ("name", "mu", "lam", "tau1", "tau2", "pseudo", "images")
        return {key: getattr(self, key) for key in kept}
