"""MOON: a contrastive term between the current, the received and the client's previous features.

Li, He, Song, "Model-Contrastive Federated Learning", CVPR 2021, arXiv 2103.16257, equations (3) and (4): with z the
features of the current model, z_glob those of the received one and z_prev those of the client's model of its
previous participation,

    l_con = -log( e^{cos(z, z_glob) / T} / (e^{cos(z, z_glob) / T} + e^{cos(z, z_prev) / T}) ),

and the client minimises ``F_k + mu l_con``. ``mu = 0`` is the standard update. At its first participation a client
has no previous model and the term is left out.

The paper's z is the output of a projection head, two dense layers ending in 256 units, which its classifier reads.
Without ``projection`` z is what the model's own classifier reads, so a model whose ``features`` end in such a head
is the paper's. ``projection: 256`` puts a head of that form *beside* the classifier of any model: it is averaged
with the model, and predictions do not go through it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clients.base import (
    Batch,
    ClientUpdate,
    Criterion,
    Descend,
    Forward,
    Frozen,
    LocalRound,
    Tensors,
)
from clients.projection import HEAD, PROJECTION, feature_size, project
from clients.records import encode
from fedbal.protocol import to_arrays

STATE = "moon"


def contrastive(z: Tensor, received: Tensor, previous: Tensor, temperature: float) -> Tensor:
    """Return ``l_con`` of every row, shape (b,), from features (b, d)."""
    near = F.cosine_similarity(z, received, dim=1) / temperature
    far = F.cosine_similarity(z, previous, dim=1) / temperature
    return F.softplus(far - near)


class Moon(ClientUpdate):
    """Minimise the criterion plus ``mu`` times the contrastive term; keeps its latest model between rounds.

    Parameters
    ----------
    criterion : Criterion
        The loss on logits.
    mu : float (default: 1.0)
        Weight of the contrastive term, >= 0; the paper's grid is 0.1, 1, 5, 10. 0 is the standard update.
    temperature : float (default: 0.5)
        T, > 0.
    projection : int, optional
        Outputs of a projection head, >= 1; the paper has 256 (default: no head, z is the features).
    """

    def __init__(
        self, criterion: Criterion, mu: float = 1.0, temperature: float = 0.5, projection: int | None = None
    ) -> None:
        super().__init__(criterion)
        if mu < 0.0 or temperature <= 0.0:
            raise ValueError(f"need mu >= 0 and temperature > 0, got mu={mu}, temperature={temperature}")
        if projection is not None and projection < 1:
            raise ValueError(f"projection must be >= 1, got {projection}")
        self.mu = mu
        self.temperature = temperature
        self.projection = projection

    def modules(self, model: nn.Module, input_shape: tuple[int, ...]) -> Mapping[str, nn.Module]:
        """Add the projection head, if one is wanted: d units, then its outputs, for d features."""
        if self.projection is None or self.mu == 0.0:
            return {}
        size = feature_size(model, input_shape, "moon")
        head = (nn.Linear(size, size), nn.ReLU(), nn.Linear(size, self.projection))
        return {PROJECTION: nn.Sequential(*head)}

    def before(self, local: LocalRound) -> Frozen:
        """Keep the received and the previous model; nothing when the term vanishes."""
        if self.mu == 0.0 or STATE not in local.state:
            return {}
        arrays = to_arrays(local.state.array_records[STATE])
        previous = {name: torch.from_numpy(arrays[name]).to(value) for name, value in local.received.items()}
        return {"received": local.received, "previous": previous}

    def loss(self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen) -> Tensor:
        """Return the criterion plus the contrastive term."""
        if not frozen:
            return self.criterion(forward(params, batch.x), batch)
        z, logits = forward.features(params, batch.x)
        with torch.no_grad():
            near, _ = forward.features(frozen["received"], batch.x)
            far, _ = forward.features(frozen["previous"], batch.x)
            near, far = self._z(frozen["received"], near), self._z(frozen["previous"], far)
        rows = contrastive(self._z(params, z), near, far, self.temperature)
        weight = batch.weight
        term = rows.mean() if weight is None else (rows * weight).sum() / weight.sum().clamp_min(1.0)
        return self.criterion(logits, batch) + self.mu * term

    @property
    def steps_along_loss(self) -> bool:
        """Whether there is no head that a step might have to leave alone."""
        return self.projection is None or self.mu == 0.0

    def step(
        self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen, descend: Descend
    ) -> tuple[Tensors, Tensor]:
        """Make one local step; without a previous model the loss does not reach the head, which then stays."""
        names = None if frozen else [name for name in params if not name.startswith(HEAD)]
        return descend(lambda moving: self.loss(forward, moving, batch, frozen), params, names)

    def _z(self, params: Mapping[str, Tensor], features: Tensor) -> Tensor:
        return features.flatten(1) if self.projection is None else project(params, features)

    def after(self, local: LocalRound, trained: Tensors) -> Mapping[str, list[float]]:
        """Keep the trained model for the next participation."""
        if self.mu > 0.0:
            local.state[STATE] = encode(trained)
        return {}
