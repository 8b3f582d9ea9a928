"""Classification: confusion counts and mean cross-entropy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from flwr.app import ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from fedbal import protocol
from fedbal.fairness import ClientScore, client_spread
from fedbal.groups import ClassGroups
from fedbal.measures.base import Evaluated, Measures
from fedbal.measures.names import TaskName, score_name
from fedbal.metrics import Confusion, classification_report
from fedbal.posthoc import posthoc_numbers
from fedbal.protocol import Disclosure
from fedbal.views import global_numbers


class Classification(Measures[Confusion]):
    """Measures of a classifier: logits (b, C), labels (b,)."""

    task: ClassVar[TaskName] = "classification"
    headline: ClassVar[str] = "balanced_accuracy"
    client_metric: ClassVar[str] = "accuracy"
    discloses: ClassVar[tuple[Disclosure, ...]] = (
        Disclosure(
            name=protocol.CONFUSION,
            size="16 bytes for each pair of true and predicted class that occurs",
            frequency="every evaluation",
            privacy="reveals how many test samples of each class the client has, and what they are taken for",
        ),
        Disclosure(
            name=protocol.PERSONAL + protocol.CONFUSION,
            size="as the confusion counts, and one loss",
            frequency="every evaluation, if the client's update keeps a personal model",
            privacy="the same about the client's own model, which itself stays with the client",
        ),
    )

    def empty(self) -> Confusion:
        """Return the statistics of no sample."""
        return Confusion.empty(self.num_classes)

    def score(self, logits: Tensor, y: Tensor) -> Confusion:
        """Count predictions and add up cross-entropies."""
        loss = F.cross_entropy(logits, y, reduction="sum").to(torch.float64)
        cells = torch.bincount(y * self.num_classes + logits.argmax(1), minlength=self.num_classes**2)
        return Confusion(cells.view(self.num_classes, self.num_classes).cpu().numpy(), float(loss))

    def report(self, sums: Confusion) -> dict[str, Any]:
        """Return the class view."""
        return dict(classification_report(sums))

    def value(self, sums: Confusion, metric: str) -> float:
        """Return accuracy, or balanced accuracy over the classes present."""
        name, totals = score_name(metric, self.task), sums.counts.sum(axis=1)
        if not sums.n:
            raise ValueError(f"{name} of no sample")
        if name == "accuracy":
            return float(np.trace(sums.counts) / totals.sum())
        present = totals > 0
        return float((np.diag(sums.counts)[present] / totals[present]).mean())

    def test(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        groups: ClassGroups | None = None,
        posthoc: float | None = None,
    ) -> dict[str, Any]:
        """Return every number of a global test, of all its logits together."""
        assert groups is not None
        logits, truth = torch.empty((0, self.num_classes)), torch.empty(0, dtype=torch.int64)
        loss, parts = torch.zeros((), dtype=torch.float64), []
        for scores, labels in batches:
            loss = loss.to(scores.device) + F.cross_entropy(scores, labels, reduction="sum").to(torch.float64)
            parts.append((scores, labels))
        if parts:
            # On a device everything waits there until here.
            logits, truth = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
        confusion = Confusion.of(truth, logits.argmax(1), self.num_classes, float(loss))
        numbers = global_numbers(confusion, logits.numpy(), truth.numpy(), groups)
        if posthoc is not None:
            numbers["posthoc"] = posthoc_numbers(logits.numpy(), truth.numpy(), groups, posthoc)
        return numbers

    def reply(self, received: Confusion, personal: Confusion | None = None) -> RecordDict:
        """Return counts and losses; the confusion counts apart from the metrics.

        Stock strategies average every metric and want the same ones of every client.
        """
        metrics = MetricRecord({protocol.NUM_EXAMPLES: received.n, protocol.CORRECT: received.correct})
        metrics[protocol.LOSS] = received.loss_sum / max(received.n, 1)
        extras = ConfigRecord({protocol.CONFUSION: sparse(received.counts)})
        if personal is not None:
            extras[protocol.PERSONAL + protocol.CONFUSION] = sparse(personal.counts)
            extras[protocol.PERSONAL + protocol.LOSS] = personal.loss_sum / max(personal.n, 1)
        return RecordDict({protocol.METRICS: metrics, protocol.EXTRAS: extras})

    def read(self, content: RecordDict) -> Evaluated | None:
        """Decode a reply; None for one that contradicts itself."""
        metrics = protocol.metrics_of(content)
        values = [metrics.get(key) for key in (protocol.NUM_EXAMPLES, protocol.CORRECT, protocol.LOSS)]
        samples, correct, loss = (value if isinstance(value, int | float) else -1 for value in values)
        if not 0 <= correct <= samples:
            return None
        extras = content.config_records.get(protocol.EXTRAS, ConfigRecord())
        try:
            confusion = dense(extras.get(protocol.CONFUSION), self.num_classes, int(samples))
            own = dense(extras.get(protocol.PERSONAL + protocol.CONFUSION), self.num_classes, int(samples))
        except (ValueError, TypeError):
            return None
        if confusion is not None and int(np.trace(confusion)) != correct:
            return None
        received = ClientScore(int(samples), int(correct), float(loss), confusion)
        if own is None:
            return Evaluated(received, None)
        own_loss = extras.get(protocol.PERSONAL + protocol.LOSS)
        measured = float(own_loss) if isinstance(own_loss, int | float) else float("nan")
        return Evaluated(received, ClientScore(int(samples), int(np.trace(own)), measured, own))

    def packed(self, received: Sequence[Confusion]) -> Any:
        """Return losses and the non-zero cells of all confusion counts."""
        counts = np.array([one.counts for one in received], np.int64).reshape(-1, self.num_classes**2)
        row, cell = np.nonzero(counts)
        return np.array([one.loss_sum for one in received]), row, cell, counts[row, cell]

    def unpacked(self, packed: Any) -> list[Any]:
        """Return the clients' scores."""
        losses, row, cell, count = packed
        counts = np.zeros((len(losses), self.num_classes**2), np.int64)
        counts[row, cell] = count
        matrices = counts.reshape(len(losses), self.num_classes, self.num_classes)
        samples, correct = counts.sum(axis=1), np.trace(matrices, axis1=1, axis2=2)
        means = losses / np.maximum(samples, 1)
        numbers = zip(samples.tolist(), correct.tolist(), means.tolist(), matrices, strict=True)
        return [ClientScore(*values) for values in numbers]

    def spread(self, rows: Sequence[Any], min_samples: int) -> Mapping[str, Any]:
        """Return the spread of accuracy."""
        return client_spread(rows, min_samples)


def sparse(confusion: NDArray[np.int64]) -> list[int]:
    """Return the non-zero cells as (cell, count) pairs: never more of them than samples."""
    flat = confusion.ravel()
    cells = np.flatnonzero(flat)
    pairs: list[int] = np.stack([cells, flat[cells]], axis=1).ravel().tolist()
    return pairs


def dense(pairs: object, num_classes: int, samples: int) -> NDArray[np.int64] | None:
    """Decode (cell, count) pairs; raises ``ValueError`` for cells or counts that cannot be."""
    if pairs is None:
        return None
    cells, counts = np.asarray(pairs, np.int64).reshape(-1, 2).T
    if (counts < 0).any() or counts.sum() != samples:
        raise ValueError(f"confusion counts must be >= 0 and sum to {samples}")
    if ((cells < 0) | (cells >= num_classes**2)).any():
        raise ValueError(f"confusion cells must be in 0 .. {num_classes**2 - 1}")
    matrix = np.zeros(num_classes**2, np.int64)
    np.add.at(matrix, cells, counts)
    return matrix.reshape(num_classes, num_classes)
