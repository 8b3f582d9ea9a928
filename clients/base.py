"""What a client update is: pure loss, frozen inputs, optional work before and after local training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from flwr.app import ConfigRecord, RecordDict
from torch import Tensor, nn

from clients.data import ClientData
from fedbal.measures import measures_for
from fedbal.measures.base import Measures
from fedbal.measures.names import TaskName
from fedbal.protocol import Disclosure

Tensors = dict[str, Tensor]
"""Parameters (or gradients) by name."""


class Forward(Protocol):
    """The model as a pure function: ``forward(params, x) -> logits (b, C)``."""

    def __call__(self, params: Mapping[str, Tensor], x: Tensor, /) -> Tensor:
        """Return logits (b, C)."""
        ...

    def features(self, params: Mapping[str, Tensor], x: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return features (b, d) and logits (b, C); the model must have ``features`` and ``classifier``."""
        ...


Frozen = Mapping[str, Any]
"""What stays fixed during a client's local training: a pytree of tensors made by ``before``."""


class Batch(NamedTuple):
    """One minibatch."""

    x: Tensor
    """Features, (b, ...), float32."""
    y: Tensor
    """Labels, (b,), int64; for segmentation masks of them, (b, height, width)."""
    weight: Tensor | None = None
    """Sample weights, (b,): 1 for a real row, 0 for padding; None: all real."""
    prior: Tensor | None = None
    """What the loss needs of the class counts, (C,); the same for all batches of a client's round."""


class Criterion(Protocol):
    """A loss on logits, the axis where losses for imbalance live."""

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the scalar loss of ``logits`` (b, C), a weighted mean over the batch.

        A criterion may have a method ``prior(counts)`` that turns a client's class counts (C,) into
        ``batch.prior``.
        """
        ...


class Descend(Protocol):
    """One move of the local optimizer: who calls it says what for, the training loop differentiates and steps."""

    def __call__(
        self,
        objective: Callable[[Tensors], Tensor],
        params: Tensors,
        names: Sequence[str] | None = None,
        *,
        ascend: bool = False,
    ) -> tuple[Tensors, Tensor]:
        """Return the parameters after the move, and the objective before it.

        Parameters
        ----------
        objective : callable
            Parameters to a scalar; pure.
        params : Tensors
            Where to start; not to be used afterwards.
        names : sequence of str, optional
            The parameters that move; None: all. The objective must depend on each.
        ascend : bool (default: False)
            Move against the objective's descent.
        """
        ...


@dataclass
class Progress:
    """What a client's local training did.

    Attributes
    ----------
    steps : int
        Minibatch steps.
    learning_rate : float
        Local learning rate of the round.
    momentum : float
        Local momentum.
    """

    steps: int = 0
    learning_rate: float = 0.0
    momentum: float = 0.0


@dataclass(frozen=True)
class LocalRound:
    """What a client knows at the start of its local training.

    Attributes
    ----------
    round : int
        Server round, from 1.
    received : Tensors
        The model it received; never written to.
    data : ClientData
        Its samples.
    num_classes : int
        Classes of the task.
    config : ConfigRecord
        What the server sent along.
    state : RecordDict
        The client's own state, kept for it between its rounds (Flower's ``Context.state``).
    records : RecordDict
        Everything in the server's message, for rules that send more than the model.
    progress : Progress
        What local training did; complete when :meth:`ClientUpdate.after` is called.
    forward : Forward, optional
        The model as a pure function, for work outside local steps.
    seed : int
        Training seed, for streams of the update's own.
    rounds : int
        Rounds of the run.
    train : callable, optional
        Returns the received model after the client's local work of this round, with this update's loss; given
        where a client evaluates, for personal models that are made then.
    task : {"classification", "segmentation"}
        What the labels are.
    """

    round: int
    received: Tensors
    data: ClientData
    num_classes: int
    config: ConfigRecord = field(default_factory=ConfigRecord)
    state: RecordDict = field(default_factory=RecordDict)
    records: RecordDict = field(default_factory=RecordDict)
    progress: Progress = field(default_factory=Progress)
    forward: Forward | None = None
    seed: int = 0
    rounds: int = 1
    train: Callable[[], Tensors] | None = None
    task: TaskName = "classification"

    @property
    def measures(self) -> Measures[Any]:
        """What is measured of a model on this task."""
        return measures_for(self.task, self.num_classes)


class ClientUpdate(ABC):
    """What a client does between receiving the model and replying.

    ``loss`` is pure in its arguments, so that many clients can be trained at once; whatever else it needs
    is put into ``frozen`` by :meth:`before`.

    Parameters
    ----------
    criterion : Criterion
        The loss on logits.
    """

    discloses: tuple[Disclosure, ...] = ()
    """What this update sends beyond weights and the sample count."""
    answers: tuple[str, ...] = ()
    """Extras that its :meth:`after` always gives, so that a rule may ask for them."""

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion

    def before(self, local: LocalRound) -> Frozen:
        """Make what stays fixed during this round's local training."""
        return {}

    def start(self, local: LocalRound) -> Tensors:
        """Return the model from which local training starts; here the received one."""
        return local.received

    def outgoing(self, local: LocalRound, trained: Tensors) -> Tensors:
        """Return the model of the reply; here the trained one."""
        return trained

    @abstractmethod
    def loss(self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen) -> Tensor:
        """Return the scalar loss of one minibatch; pure."""

    @property
    def steps_along_loss(self) -> bool:
        """Whether a local step is one move along ``loss``, as many clients can make it at once."""
        return type(self).step is ClientUpdate.step

    def step(
        self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen, descend: Descend
    ) -> tuple[Tensors, Tensor]:
        """Make one local step and return the parameters after it and the loss; here one move along ``loss``.

        An update whose step is more than that replaces it, as a sequence of calls of ``descend``.
        """
        return descend(lambda moving: self.loss(forward, moving, batch, frozen), params)

    def modules(self, model: nn.Module, input_shape: tuple[int, ...]) -> Mapping[str, nn.Module]:
        """Return modules that the loss needs beside the model, by name.

        Their tensors travel and are averaged with the model, their names begin with ``auxiliary.``.
        """
        return {}

    def answer(self, local: LocalRound) -> Mapping[str, Tensors]:
        """Return array records for the reply to a query, by name; ``local.config`` says what is asked."""
        return {}

    def after(self, local: LocalRound, trained: Tensors) -> Mapping[str, list[float]]:
        """Return extras for the reply, by name, and write ``local.state`` if the update keeps state."""
        return {}

    def personal(self, local: LocalRound) -> Tensors | None:
        """Return the client's own model, all tensors of it, to be evaluated beside the received one.

        Called when the client evaluates; reads ``local.received`` and ``local.state`` and writes neither. None:
        this client has no model of its own (yet).
        """
        return None

    def records(self, local: LocalRound, trained: Tensors) -> Mapping[str, Tensors]:
        """Return further array records for the reply, by name; called before :meth:`after`."""
        return {}
