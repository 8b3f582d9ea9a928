"""FedBR: pseudo-samples shared by all clients keep the classifier unbiased and local features near the global ones.

Guo, Tang, Lin, "FedBR: Improving Federated Learning on Heterogeneous Data via Local Learning Bias Reduction", ICML
2023, arXiv 2205.13462. With features phi, classifier omega, projection head h, the received features phi_g, local
samples x, pseudo-samples u, s the cosine and a = h(phi(u)), b = h(phi_g(u)), c = h(phi(x)):

    L_con = mean_i softplus( tau2 s(a_i, c_i) - tau1 s(a_i, b_i) )
    L_bal = mean_i - sum_c q_{i,c} log softmax(omega(phi(u_i)))_c

Every local step is a max step on h alone, all features held fixed, along ``+ grad L_con``, and then a min step on
phi and omega, with the new h, along ``- grad (criterion + mu L_con + lam L_bal)``. The taus multiply the cosines.
Pseudo-sample i is paired with local sample i; a short batch uses the first pseudo-samples.

``rsm``: u is what the server sent, q is uniform. ``mixture``: u_i is half the server's sample and half an image of
the same batch, the next one in its random order, and q is half uniform and half that image's label. The frozen
phi_g is the model as received and never travels; h is part of the model that travels and is averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from clients.base import Batch, ClientUpdate, Criterion, Descend, Forward, Frozen, LocalRound, Tensors
from clients.projection import HEAD, PROJECTION, feature_size, project
from fedbal.protocol import PSEUDO, PSEUDO_SAMPLES, Disclosure, to_arrays
from fedbal.seeding import stream

PSEUDO_DISCLOSURE = Disclosure(
    name=PSEUDO,
    size="one input of the model in float32 for each pseudo-sample drawn at the client",
    frequency="once, before round 1",
    privacy="means of a few of the client's raw images (or rows): they blur but guarantee nothing, and one image "
    "may dominate a mean; every client receives them",
)


def contrast(a: Tensor, b: Tensor, c: Tensor, tau1: float, tau2: float) -> Tensor:
    """Return ``L_con`` of every pair, shape (b,), from projected features (b, d)."""
    near, far = F.cosine_similarity(a, b, dim=1), F.cosine_similarity(a, c, dim=1)
    return F.softplus(tau2 * far - tau1 * near)


def balance(logits: Tensor, target: Tensor) -> Tensor:
    """Return ``L_bal`` of every pseudo-sample, shape (b,), from logits and target shares (b, C)."""
    return -(target * F.log_softmax(logits, dim=1)).sum(dim=1)


def sample_means(x: Tensor, draws: NDArray[np.int64]) -> Tensor:
    """Return random sample means (P, ...): the mean of the rows of ``x`` named by each line of ``draws`` (P, M)."""
    return torch.stack([x[torch.from_numpy(line).to(x.device)].mean(dim=0) for line in draws])


class FedBR(ClientUpdate):
    """Minimise the criterion plus two terms on pseudo-samples, against a head that maximises one of them.

    Parameters
    ----------
    criterion : Criterion
        The loss on logits.
    mu : float (default: 0.5)
        Weight of ``L_con``, >= 0; 0 leaves component 1 alone.
    lam : float (default: 1.0)
        Weight of ``L_bal`` (the paper's lambda), >= 0; 0 leaves component 2 alone.
    tau1, tau2 : float (default: 2.0)
        Factors of the cosines, >= 0.
    pseudo : {"rsm", "mixture"}
        What becomes of the server's samples (default: rsm).
    images : int (default: 10)
        M, training samples that each uploaded mean is made of, >= 2.
    """

    discloses = (PSEUDO_DISCLOSURE,)

    def __init__(
        self,
        criterion: Criterion,
        mu: float = 0.5,
        lam: float = 1.0,
        tau1: float = 2.0,
        tau2: float = 2.0,
        pseudo: Literal["rsm", "mixture"] = "rsm",
        images: int = 10,
    ) -> None:
        super().__init__(criterion)
        if min(mu, lam, tau1, tau2) < 0.0:
            raise ValueError(f"need mu, lam, tau1, tau2 >= 0, got {mu}, {lam}, {tau1}, {tau2}")
        if pseudo not in ("rsm", "mixture"):
            raise ValueError(f"pseudo must be rsm or mixture, got {pseudo!r}")
        if images < 2:
            raise ValueError(f"images must be >= 2, got {images}: the mean of one image is the image")
        self.mu = mu
        self.lam = lam
        self.tau1 = tau1
        self.tau2 = tau2
        self.pseudo: Literal["rsm", "mixture"] = pseudo
        self.images = images

    def modules(self, model: nn.Module, input_shape: tuple[int, ...]) -> Mapping[str, nn.Module]:
        """Add the projection head: two hidden layers of 2d units, d outputs for d features."""
        size = feature_size(model, input_shape, "fedbr")
        layers = (nn.Linear(size, 2 * size), nn.ReLU(), nn.Linear(2 * size, 2 * size), nn.ReLU())
        return {PROJECTION: nn.Sequential(*layers, nn.Linear(2 * size, size))}

    def answer(self, local: LocalRound) -> Mapping[str, Tensors]:
        """Answer the query before round 1 with as many means of own training samples as it asks for.

        Raises
        ------
        ValueError
            The client has a single training sample, whose mean would be the sample.
        """
        count, n = int(local.config.get(PSEUDO_SAMPLES, 0)), len(local.data.train)  # type: ignore[arg-type]
        if not count:
            return {}
        if n < 2:
            raise ValueError(f"client {local.data.key} has {n} training samples; a mean needs at least two")
        generator = stream(local.seed, "pseudo", local.data.key)
        draws = generator.integers(0, n, (count, self.images))
        while (single := (draws == draws[:, :1]).all(axis=1)).any():
            # Drawn with replacement, all may be the same image: that one stays at the client.
            draws[single] = generator.integers(0, n, (int(single.sum()), self.images))
        rows, positions = np.unique(draws, return_inverse=True)
        x, _ = local.data.train.batch(rows)
        return {PSEUDO: {"x": sample_means(x, positions.reshape(draws.shape).astype(np.int64))}}

    def before(self, local: LocalRound) -> Frozen:
        """Keep the received model and the server's pseudo-samples."""
        if PSEUDO not in local.records.array_records:
            raise ValueError(f"the update fedbr needs the array record {PSEUDO!r}; choose strategy: fedbr")
        x = torch.from_numpy(to_arrays(local.records.array_records[PSEUDO])["x"])
        return {"received": local.received, "pseudo": x.to(local.data.train.pool.device)}

    def loss(self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen) -> Tensor:
        """Return what the min step minimises."""
        if self.mu == 0.0 and self.lam == 0.0:
            return self.criterion(forward(params, batch.x), batch)
        u, labels = self._pseudo(batch, frozen)
        local, logits = forward.features(params, batch.x)
        own, guesses = forward.features(params, u)
        total = self.criterion(logits, batch)
        if self.mu > 0.0:
            with torch.no_grad():
                received, _ = forward.features(frozen["received"], u)
            total = total + self.mu * self._contrast(params, own, received, local, batch)
        if self.lam > 0.0:
            target = torch.full_like(guesses, 1.0 / guesses.shape[1])
            if labels is not None:
                target = 0.5 * (target + F.one_hot(labels, guesses.shape[1]).to(guesses))
            total = total + self.lam * _mean(balance(guesses, target), batch)
        return total

    def step(
        self, forward: Forward, params: Tensors, batch: Batch, frozen: Frozen, descend: Descend
    ) -> tuple[Tensors, Tensor]:
        """Make the max step on the head, then the min step on everything else."""
        head = [name for name in params if name.startswith(HEAD)]
        u, _ = self._pseudo(batch, frozen)
        with torch.no_grad():
            a, _ = forward.features(params, u)
            b, _ = forward.features(frozen["received"], u)
            c, _ = forward.features(params, batch.x)
        params, _ = descend(lambda p: self._contrast(p, a, b, c, batch), params, head, ascend=True)
        rest = [name for name in params if not name.startswith(HEAD)]
        return descend(lambda p: self.loss(forward, p, batch, frozen), params, rest)

    def _contrast(
        self, params: Tensors, own: Tensor, received: Tensor, local: Tensor, batch: Batch
    ) -> Tensor:
        a, b, c = (project(params, features) for features in (own, received, local))
        return _mean(contrast(a, b, c, self.tau1, self.tau2), batch)

    def _pseudo(self, batch: Batch, frozen: Frozen) -> tuple[Tensor, Tensor | None]:
        """Return the pseudo-samples of a batch, and under ``mixture`` the labels of what was mixed in."""
        size, available = len(batch.y), frozen["pseudo"]
        if size > len(available):
            raise ValueError(
                f"a batch of {size} needs as many pseudo-samples, there are {len(available)}; "
                "raise strategy.samples"
            )
        u: Tensor = available[:size]
        if self.pseudo == "rsm":
            return u, None
        real = size if batch.weight is None else batch.weight.sum().to(torch.int64).clamp_min(1)
        following = (torch.arange(size, device=u.device) + 1) % real
        return 0.5 * (u + batch.x.index_select(0, following)), batch.y.index_select(0, following)


def _mean(rows: Tensor, batch: Batch) -> Tensor:
    weight = batch.weight
    return rows.mean() if weight is None else (rows * weight).sum() / weight.sum().clamp_min(1.0)
