"""FedCE's client: how well the global model does here without this client's own part.

Jiang et al., "Fair Federated Medical Image Segmentation via Client Contribution Estimation", CVPR 2023: the minus
model ``w_{-k} = (w^t - c_k w_k^t) / (1 - c_k)`` is scored on the client's validation data, and the client reports
``e_k = 1 - mean(v_0, ..., v_t)``. In its first round a client has no part to take out; the official code counts
that round as ``v_0 = 0`` (``first_zero: true``, the default), which biases e_k upwards by a fading share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from flwr.app import MetricRecord

from clients.base import Criterion, LocalRound, Tensors
from clients.records import encode
from clients.standard import Standard
from fedbal.measures.names import tasks_of_score
from fedbal.protocol import CONTRIBUTION, SCORE, to_arrays

MODEL = "fedce-model"
HISTORY = "fedce-history"


class Contribution(Standard):
    """The standard update, with a contribution score; keeps its latest model and scores between rounds.

    Parameters
    ----------
    criterion : Criterion
        The loss on logits.
    metric : {"auto", "accuracy", "balanced_accuracy", "dice", "iou"}
        Score in [0, 1] of the minus model on the client's validation data; auto is Dice for masks, accuracy for
        classes.
    first_zero : bool (default: True)
        Count the first round as a score of 0, as the official code does.
    """

    answers = (SCORE,)

    def __init__(
        self,
        criterion: Criterion,
        metric: Literal["auto", "accuracy", "balanced_accuracy", "dice", "iou"] = "auto",
        first_zero: bool = True,
    ) -> None:
        super().__init__(criterion)
        if not tasks_of_score(metric):
            raise ValueError(f"metric must be auto, accuracy, balanced_accuracy, dice or iou, got {metric!r}")
        self.metric = metric
        self.first_zero = first_zero

    def after(self, local: LocalRound, trained: Tensors) -> Mapping[str, list[float]]:
        """Score the minus model, keep the trained model, report ``e_k``."""
        history = list(local.state.metric_records.get(HISTORY, MetricRecord({"v": []}))["v"])  # type: ignore[arg-type]
        share = float(local.config.get(CONTRIBUTION, 0.0))  # type: ignore[arg-type]
        if MODEL in local.state:
            history.append(self._score(local, minus_model(local, share)))
        elif self.first_zero:
            history.append(0.0)
        local.state[HISTORY] = MetricRecord({"v": [float(value) for value in history]})
        local.state[MODEL] = encode(trained)
        return {SCORE: [1.0 - float(np.mean(history)) if history else 1.0]}

    @torch.no_grad()
    def _score(self, local: LocalRound, model: Tensors) -> float:
        if not len(local.data.validation):
            raise ValueError(
                f"client {local.data.key} has no validation samples; FedCE needs data.validation > 0"
            )
        assert local.forward is not None
        measures = local.measures
        total = measures.empty()
        for x, y in local.data.validation.batches(512):
            total = total + measures.score(local.forward(model, x), y)
        return measures.value(total, self.metric)


def minus_model(local: LocalRound, share: float) -> Tensors:
    """Return ``(w - c_k w_k) / (1 - c_k)``; variances are kept at or above 0, integer buffers are the global ones.

    Raises
    ------
    ValueError
        The share is not in [0, 1).
    """
    if not 0.0 <= share < 1.0:
        raise ValueError(f"a contribution must be in [0, 1), got {share}")
    own = to_arrays(local.state.array_records[MODEL])
    minus: Tensors = {}
    for name, value in local.received.items():
        if not value.is_floating_point():
            minus[name] = value
            continue
        rest = (value - share * torch.from_numpy(own[name]).to(value)) / (1.0 - share)
        minus[name] = rest.clamp_min(0.0) if name.endswith("running_var") else rest
    return minus
