"""What every task must say about its measures: how to score, add up, report, send and compare clients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

from flwr.app import RecordDict
from torch import Tensor

from fedbal.groups import ClassGroups
from fedbal.measures.names import TaskName
from fedbal.protocol import Disclosure


class Sums(Protocol):
    """Statistics of some samples; two of them add up to those of both sets."""

    @property
    def n(self) -> int:
        """Number of samples."""
        ...

    def __add__(self, other: Self, /) -> Self: ...


S = TypeVar("S", bound=Sums)


class ClientResult(Protocol):
    """What one client's evaluation came to."""

    @property
    def n(self) -> int:
        """Test samples."""
        ...

    @property
    def value(self) -> float | None:
        """The task's plainest score, a fraction in [0, 1]; None without samples."""
        ...


class Evaluated(NamedTuple):
    """What one client's evaluation came to."""

    received: Any
    """The model it received, a :class:`ClientResult`."""
    personal: Any
    """Its own, if its update makes one; else None."""


class Measures(ABC, Generic[S]):
    """What is measured of a model on a task.

    Parameters
    ----------
    num_classes : int
        Declared classes C, for segmentation the background (class 0) included.
    """

    task: ClassVar[TaskName]
    """Which task."""
    headline: ClassVar[str]
    """Metric of a test by which the best round is found."""
    client_metric: ClassVar[str]
    """What :attr:`ClientResult.value` is called."""
    discloses: ClassVar[tuple[Disclosure, ...]]
    """What a client's evaluation sends beyond its number of test samples, its score and its mean loss."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    @abstractmethod
    def empty(self) -> S:
        """Return the statistics of no sample at all, the start of a sum."""

    @abstractmethod
    def score(self, logits: Tensor, y: Tensor) -> S:
        """Return the statistics of a batch: logits (b, C, ...) and integer targets (b, ...)."""

    @abstractmethod
    def report(self, sums: S) -> dict[str, Any]:
        """Turn statistics into metrics."""

    @abstractmethod
    def value(self, sums: S, metric: str) -> float:
        """Return one score in [0, 1] by its name (``auto``: the task's own).

        Raises
        ------
        ValueError
            The task has no such score, or there is no sample.
        """

    @abstractmethod
    def test(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        groups: ClassGroups | None = None,
        posthoc: float | None = None,
    ) -> dict[str, Any]:
        """Return the ``test`` object of a round.

        Parameters
        ----------
        batches : iterable of tuple
            Logits and targets of the global test set.
        groups : ClassGroups, optional
            Many, medium and few; classification needs them.
        posthoc : float, optional
            Strength of a post-hoc logit adjustment to report as well; classification only.
        """

    @abstractmethod
    def reply(self, received: S, personal: S | None = None) -> RecordDict:
        """Return a client's answer to an evaluation: statistics of the received and of its own model."""

    @abstractmethod
    def read(self, content: RecordDict) -> Evaluated | None:
        """Read what :meth:`reply` wrote; None for an answer that contradicts itself."""

    def packed(self, received: Sequence[S]) -> Any:
        """Return many clients' statistics of one model each as they travel between fedbal's own processes."""
        return [self.reply(sums) for sums in received]

    def unpacked(self, packed: Any) -> list[Any]:
        """Return of what :meth:`packed` made, for each client, what :meth:`read` reads in its reply."""
        found = [self.read(content) for content in packed]
        return [None if one is None else one.received for one in found]

    @abstractmethod
    def spread(self, rows: Sequence[Any], min_samples: int) -> Mapping[str, Any]:
        """Return how differently a model serves clients, from one :class:`ClientResult` a client."""
