"""The blocks of a scenario that are not data, model or strategy; needs pydantic only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from clients import LOSSES, OPTIMIZERS, UPDATES
from clients.params import AugmentParams, CrossEntropyParams, CustomOptimizerParams, SGDParams
from fedbal.components import Choice, Component
from fedbal.durations import Duration, Pause
from fedbal.measures.names import CLASSIFICATION, TaskName
from fedbal.params import Params
from strategies import AVAILABILITIES
from strategies.parts import UniformAvailabilityParams

Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Prefix = Annotated[str, Field(min_length=1)]
Prefixes = Prefix | Annotated[list[Prefix], Field(min_length=1)]
"""Names of modules or tensors of a model, one or several."""

EXCLUSIVE: dict[tuple[str, ...], str] = {
    ("client", "local_epochs"): "local_steps",
    ("client", "local_steps"): "local_epochs",
    ("cohort", "fraction"): "size",
    ("cohort", "size"): "fraction",
    ("runtime", "record_updates", "every"): "rounds",
    ("runtime", "record_updates", "rounds"): "every",
}
"""Keys that exclude another key of the same block."""


class Seeds(Params):
    """Base seeds of the three axes that can be varied apart."""

    partition: Seed = Field(0, description="Seed of everything that is done to the data, >= 0.")
    init: Seed = Field(0, description="Seed of the initial model, >= 0.")
    training: Seed = Field(0, description="Seed of cohorts, minibatches, stragglers and dropouts, >= 0.")

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"partition": value, "init": value, "training": value}
        return value


class AutoUpdate(Params):
    """The client update that the strategy asks for."""

    name: Literal["auto"] = "auto"


class ClientBlock(Params):
    """What a client does with the model it receives."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["local_epochs", "local_steps"]}})

    update: Annotated[Component, Choice(UPDATES, default="auto", extra={"auto": AutoUpdate})] = Field(
        default_factory=AutoUpdate,
        description="Client update; auto is what the strategy asks for.",
    )
    loss: Annotated[Component, Choice(LOSSES, default="cross_entropy")] = Field(
        default_factory=CrossEntropyParams, description="Loss of a minibatch."
    )
    local_epochs: Count | None = Field(
        None, description="Passes over the client's data a round, >= 1; 1 unless local_steps is given."
    )
    local_steps: Count | None = Field(None, description="Minibatch steps a round instead, >= 1.")
    batch_size: Count = Field(32, description="Samples a minibatch, >= 1.")
    optimizer: Annotated[Component, Choice(OPTIMIZERS, default="sgd", custom=CustomOptimizerParams)] = Field(
        default_factory=SGDParams, description="Local optimizer."
    )
    clip_norm: Annotated[float, Field(gt=0.0)] | None = Field(
        None,
        description="Largest L2 norm of a minibatch's gradient over all parameters, > 0; left out: not clipped.",
    )
    augment: AugmentParams = Field(
        AugmentParams(), description="Random changes of training images; nothing unless asked for."
    )
    codec: Literal["fp32", "fp16", "int8"] = Field(
        "fp32",
        description="How a trained model travels to the server: as it is, or its difference to the received one in "
        "half precision, or in 8 bits with what that loses added to the client's next one.",
    )

    @field_validator("local_steps")
    @classmethod
    def _not_both(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("local_epochs") is not None:
            raise ValueError("local_epochs is given too and only one of the two can hold; delete one of them")
        return value

    @model_validator(mode="after")
    def _one_epoch(self) -> ClientBlock:
        if self.local_epochs is None and self.local_steps is None:
            object.__setattr__(self, "local_epochs", 1)
        return self


class CohortBlock(Params):
    """How many clients take part in a round, and which ones are likely to."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["fraction", "size"]}})

    fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="Share of the clients that have data, in (0, 1]; 1 unless size is given."
    )
    size: Count | None = Field(None, description="Number of clients instead, >= 1.")
    availability: Annotated[Component, Choice(AVAILABILITIES)] = Field(
        default_factory=UniformAvailabilityParams, description="Who can be asked in a round."
    )

    @field_validator("size")
    @classmethod
    def _not_both(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("fraction") is not None:
            raise ValueError("fraction is given too and only one of the two can hold; delete one of them")
        return value

    @model_validator(mode="after")
    def _everyone(self) -> CohortBlock:
        if self.fraction is None and self.size is None:
            object.__setattr__(self, "fraction", 1.0)
        return self


class PretrainedBlock(Params):
    """Initial tensors from a file instead of the seed, and parts of the model that do not train."""

    path: Annotated[str, Field(min_length=1)] = Field(
        description="A local safetensors file whose tensors have the names of the model's."
    )
    only: Prefixes | None = Field(
        None,
        description="Parts to take from the file, such as features; left out: every tensor that the model has.",
    )
    freeze: Prefixes = Field(
        "none",
        description="Parts that do not train and do not travel: none, loaded (all that the file gave), or names "
        "such as features.",
    )
    strict: bool = Field(
        False, description="Whether the file must hold every tensor of the model (of `only`) and no other."
    )


class Stragglers(Params):
    """Clients that do only part of their local work in a round."""

    fraction: Fraction = Field(
        0.0, description="Share of a cohort of K that straggles, in [0, 1]: exactly round(fraction * K)."
    )
    policy: Literal["drop", "partial"] = Field(
        "drop", description="Drop a straggler's work, or average what it got done."
    )


class Speed(Params):
    """Speeds of clients on the simulated clock."""

    sigma: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="Standard deviation of log speed over clients, >= 0; 0: all alike."
    )
    samples_per_second: Annotated[float, Field(gt=0.0)] = Field(
        1000.0, description="Median training speed in samples per simulated second, > 0."
    )


class SystemsBlock(Params):
    """Systems heterogeneity."""

    stragglers: Stragglers = Field(Stragglers(), description="Clients that get only part of the work done.")
    client_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.0, description="Probability that a client of the cohort does not answer, in [0, 1)."
    )
    speed: Speed = Field(Speed(), description="Client speeds on the simulated clock.")


class GroupsBlock(Params):
    """What makes a class many-, medium- or few-shot, by the global training counts."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a class; what says nothing concerns nobody."""
        return CLASSIFICATION if self != GroupsBlock() else super().for_tasks()

    rule: Literal["auto", "counts", "share"] = Field(
        "auto",
        description="By training samples, or by cumulative share of the classes from common to rare; auto: "
        "counts, or share when no class is below the lower threshold.",
    )
    thresholds: Annotated[list[Count], Field(min_length=2, max_length=2)] = Field(
        [20, 100], description="Rule counts: few below the first, many above the second; ascending."
    )
    shares: Annotated[list[Percent], Field(min_length=2, max_length=2)] = Field(
        [75.0, 95.0],
        description="Rule share: many while the classes before hold less than the first percentage of all "
        "samples, medium while less than the second; ascending.",
    )

    @field_validator("thresholds", "shares")
    @classmethod
    def _ascending(cls, value: list[float]) -> list[float]:
        if value[0] > value[1]:
            raise ValueError(f"must ascend; did you mean [{value[1]:g}, {value[0]:g}]?")
        return value


class PosthocBlock(Params):
    """Post-hoc logit adjustment of the test predictions."""

    def for_tasks(self) -> tuple[TaskName, ...]:
        """Return the tasks whose rows have a class."""
        return CLASSIFICATION

    tau: Annotated[float, Field(ge=0.0)] = Field(
        1.0, description="Strength, >= 0; 0 leaves the predictions as they are."
    )


class EvaluationBlock(Params):
    """When and on whom the received model is evaluated."""

    every: Count = Field(1, description="Rounds between evaluations, >= 1; more than rounds: the last only.")
    clients: Literal["all", "cohort"] | Annotated[int, Field(ge=0)] = Field(
        "all", description="Clients that evaluate the received model: all, the cohort, or a fixed number."
    )
    min_client_samples: Annotated[int, Field(ge=0)] = Field(
        30, description="Clients with fewer test samples are left out of the spread over clients, >= 0."
    )
    groups: GroupsBlock = Field(GroupsBlock(), description="Many-, medium- and few-shot classes.")
    posthoc: PosthocBlock | None = Field(
        None,
        description="Report test predictions by argmax z - tau log pi too, pi the global training shares; left "
        "out: not.",
    )
    dissimilarity: bool = Field(
        False,
        description="Record the training loss of all clients and FedProx's B and V of their gradients, which costs "
        "one on all data an evaluation.",
    )


class RecordUpdatesBlock(Params):
    """Which replies of clients are kept, for ``fedbal replay``."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["every", "rounds"]}})

    every: Count | None = Field(None, description="Record every such round, >= 1; 1 unless rounds is given.")
    rounds: Annotated[list[Count], Field(min_length=1)] | None = Field(
        None, description="Rounds to record instead, each >= 1."
    )
    clients: Count | None = Field(
        None, description="Clients of a round that are recorded, drawn from its cohort; left out: all of it."
    )
    extras: list[Literal["normalised-steps", "received-loss"]] = Field(
        [],
        description="What recorded clients are asked for beside what the rule asks, for replays of fednova "
        "(normalised-steps) and qfedavg (received-loss).",
    )

    @model_validator(mode="before")
    @classmethod
    def _every_round(cls, value: Any) -> Any:
        return {} if value is True else value

    @field_validator("rounds")
    @classmethod
    def _not_both(cls, value: list[int] | None, info: ValidationInfo) -> list[int] | None:
        if value is not None and info.data.get("every") is not None:
            raise ValueError("every is given too and only one of the two can hold; delete one of them")
        return value

    @model_validator(mode="after")
    def _all_rounds(self) -> RecordUpdatesBlock:
        if self.every is None and self.rounds is None:
            object.__setattr__(self, "every", 1)
        return self


class RuntimeBlock(Params):
    """Where the work is done; results do not depend on the number of workers."""

    backend: Literal["auto", "inprocess", "ray"] = Field(
        "auto",
        description="Where clients are trained: by threads of this process or Ray's; auto: threads where they may "
        "train them, Ray for others if it is installed, and one worker where more are not useful.",
    )
    workers: Literal["auto"] | Count = Field(
        "auto", description="Threads or Ray's processes that train; auto: what the resources hold."
    )
    threads: Count = Field(1, description="torch threads a worker, >= 1; other numbers give other bytes.")
    num_cpus: Annotated[float, Field(gt=0.0)] = Field(1.0, description="CPUs a worker, > 0, as in Ray.")
    num_gpus: Literal["auto"] | Annotated[float, Field(ge=0.0)] = Field(
        0.0,
        description="GPUs a worker, >= 0, as in Ray; 0.25 puts four workers on one; auto: as many as fit, by the "
        "measured memory of one step.",
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = Field(
        "auto", description="auto, cpu, cuda or cuda:N; auto is cuda unless num_gpus is 0."
    )
    vectorize: Literal["auto"] | bool = Field(
        "auto",
        description="Whether many clients are trained at once, their parameters stacked; auto: where fedbal's "
        "table of measured costs says that it pays. Other bytes than one by one, the same learning.",
    )
    chunk: Literal["auto"] | Count = Field(
        "auto", description="Clients trained at once, >= 1; auto: by the same table."
    )
    compile: bool = Field(
        False,
        description="Compile the step of the clients that are trained at once; pays in long runs of small models "
        "and needs a C++ compiler.",
    )
    costs: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Table of costs of this machine, written by fedbal calibrate, by which vectorize and chunk are "
        "chosen where they are auto; left out: the one that comes with fedbal. A run records its hash.",
    )
    precision: Literal["fp32", "tf32", "bf16"] = Field(
        "fp32",
        description="Arithmetic of local training: fp32; tf32, faster matrix products on newer NVIDIA cards; bf16, "
        "forward and backward in bfloat16 where torch deems it safe. Parameters and replies stay float32.",
    )
    address: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Address of a running Ray cluster, or auto; left out: a local one is started."
    )
    record_updates: RecordUpdatesBlock | None = Field(
        None,
        description="Keep the replies of clients in the run directory, for `fedbal replay`: true, or a block that "
        "says which; left out or false: not.",
    )

    @field_validator("record_updates", mode="before")
    @classmethod
    def _not_recorded(cls, value: Any) -> Any:
        return None if value is False else value


class DeploymentBlock(Params):
    """Deadlines of a run on real devices; they change no number of a run in which everybody answers in time."""

    round_timeout: Duration = Field(
        600.0, description="How long a message may take, there and back: seconds, or 90s, 10m, 2h."
    )
    min_clients: Count = Field(
        1, description="Clients of a cohort that must be connected before a round begins, >= 1."
    )
    wait: Duration = Field(
        600.0, description="How long to wait for them before the run stops: seconds, or 90s, 10m, 2h."
    )
    reconnect: Pause = Field(
        0.0,
        description="How long it waits for a client that went away to come back and do its work again; 0: none.",
    )
