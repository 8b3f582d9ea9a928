"""How every client of a scenario trains: what a process keeps between clients."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from flwr.app import Array, ArrayRecord
from torch import nn

from clients.base import ClientUpdate, Tensors
from clients.functional import ModelFunction
from clients.groups import shared_names
from clients.optimizers import Optimizer
from clients.preprocess import Preprocess
from clients.purity import known_parts, model_obstacle, ours
from clients.schedules import Constant, LearningRateSchedule
from clients.training import LocalPlan, StepOptions
from clients.turn import Turn
from fedbal.measures import measures_for
from fedbal.measures.base import Measures
from fedbal.measures.names import TaskName
from fedbal.protocol import FP32, to_arrays

if TYPE_CHECKING:
    from clients.recorded import Recorder


@dataclass(frozen=True)
class Trainer:
    """How every client of a scenario trains.

    Attributes
    ----------
    model : nn.Module
        One resident model; only its structure and its frozen tensors are used, the others come in messages.
    update : ClientUpdate
        What is minimised locally.
    optimizer : Optimizer
        Local optimizer.
    plan : LocalPlan
        Local work and batch size.
    num_classes : int
        Classes of the task.
    seed : int
        Training seed of the minibatch streams.
    rounds : int
        Rounds of the run, which a learning-rate schedule may depend on.
    schedule : LearningRateSchedule
        Learning rate over the rounds.
    options : StepOptions
        Gradient clipping and augmentation.
    preprocess : Preprocess, optional
        Imputation and scaling of every client's rows.
    task : {"classification", "segmentation"}
        What the labels are.
    codec : {"fp32", "fp16", "int8"}
        How a trained model travels, see :mod:`fedbal.codec`.
    """

    model: nn.Module
    update: ClientUpdate
    optimizer: Optimizer
    plan: LocalPlan
    num_classes: int
    seed: int
    rounds: int = 1
    schedule: LearningRateSchedule = field(default_factory=Constant)
    options: StepOptions = field(default_factory=StepOptions)
    preprocess: Preprocess | None = None
    task: TaskName = "classification"
    codec: str = FP32

    @property
    def measures(self) -> Measures[Any]:
        """What is measured of a model on this task."""
        return measures_for(self.task, self.num_classes)

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """Names of the tensors that messages carry."""
        return shared_names(self.model)

    @cached_property
    def programs(self) -> dict[Hashable, Any]:
        """Compiled steps by the shapes of their inputs; filled by :mod:`clients.compiled`."""
        return {}

    @cached_property
    def recorder(self) -> Recorder:
        """Recorded steps."""
        from clients.recorded import Recorder

        return Recorder()

    @cached_property
    def replays(self) -> bool:
        """Whether the steps of a client alone can be recorded: they are functions of tensors."""
        known = known_parts(self.model, self.update) and self.update.steps_along_loss
        return known and model_obstacle(self.model) is None

    @cached_property
    def turn(self) -> Turn:
        """When this trainer's Python may run, where several threads train."""
        return Turn()

    @property
    def pure(self) -> bool:
        """Whether nothing that clients do is a user's or draws from a shared stream: threads may train them."""
        return self.replays and ours(self.optimizer) and ours(self.schedule)

    @cached_property
    def forward(self) -> ModelFunction:
        """The model as a pure function."""
        return ModelFunction(self.model, precision=self.options.precision)

    def received(self, record: ArrayRecord, device: torch.device) -> Tensors:
        """Return the model of a message in the names, order and dtypes of the client's own shared tensors.

        Stock Flower strategies may number the arrays, sort them by name or send float64. Clients that receive
        the same arrays share the tensors, which nobody writes to.

        Raises
        ------
        ValueError
            The message brings another number of arrays, or another shape.
        """
        return self._decoder(record, device)

    @cached_property
    def _decoder(self) -> _Decoder:
        state = self.model.state_dict()
        return _Decoder({name: state[name] for name in self.shared})


class _Decoder:
    """Decodes the model of a message; the newest one is kept, since a round's clients all receive it."""

    def __init__(self, expected: Tensors) -> None:
        self._expected = expected
        self._names: tuple[str, ...] = ()
        self._arrays: tuple[Array, ...] = ()
        self._tensors: Tensors = {}

    def __call__(self, record: ArrayRecord, device: torch.device) -> Tensors:
        names, arrays = tuple(record), tuple(record.values())
        # Copies of a record share its arrays, so that these tell whether it is the same model.
        if not (self._tensors and names == self._names and _same(arrays, self._arrays)):
            self._tensors = self._decoded(record, device)
            self._names, self._arrays = names, arrays
        return self._tensors

    def _decoded(self, record: ArrayRecord, device: torch.device) -> Tensors:
        arrays = to_arrays(record)
        expected = self._expected
        if len(arrays) != len(expected):
            raise ValueError(f"the model has {len(expected)} arrays, the message {len(arrays)}")
        if set(arrays) != set(expected):
            arrays = dict(zip(expected, arrays.values(), strict=True))
        received = {}
        for name, own in expected.items():
            if tuple(arrays[name].shape) != tuple(own.shape):
                raise ValueError(
                    f"array {name!r} has shape {arrays[name].shape}, the model {tuple(own.shape)}"
                )
            received[name] = torch.from_numpy(arrays[name]).to(device=device, dtype=own.dtype)
        return received


def _same(first: Iterable[Array], second: Iterable[Array]) -> bool:
    return all(one is other for one, other in zip(first, second, strict=True))
