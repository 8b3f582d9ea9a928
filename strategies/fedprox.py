"""FedProx: FedAvg's average over clients that train with a proximal term.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous Networks", MLSys 2020,
arXiv 1812.06127. Client k approximately minimises (equation 2)

    h_k(w; w^t) = F_k(w) + (mu / 2) ||w - w^t||^2,

and the server averages ``w^{t+1} = sum_k n_k w_k / sum_k n_k`` over the clients that count. Algorithm 2 of the
paper samples clients with probability p_k and averages plainly; its experiments and code sample uniformly
and weigh by n_k, which is what happens here.

Stragglers that did part of their epochs count with their full weight n_k. Keeping that partial work is a
choice of its own (``systems.stragglers.policy: partial``), so that its effect and the effect of ``mu`` can be
told apart; ``mu = 0`` without stragglers is FedAvg.

Adaptive mu, as in the paper's experiments: mu starts at its given value, grows by 0.1 whenever the loss rises, and
falls by 0.1, not below 0, after five falls of the loss in a row. The loss is that of the model that the cohort
received, the mean of the clients' losses on all their training data by samples; with everyone in the cohort it is
the global loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp import Grid
from numpy.typing import NDArray

from fedbal.protocol import INEXACTNESS, PROXIMAL_MU, RECEIVED_LOSS, Disclosure
from strategies.fedavg import FedAvg
from strategies.order import CohortOrder
from strategies.qfedavg import RECEIVED_LOSS_DISCLOSURE, received_loss
from strategies.server_optimizers import ServerOptimizer
from strategies.validation import ClientReply, InvalidReplyError
from strategies.weighting import Weighting, Weights, sample_weights

STEP = 0.1
FALLS = 5
ADAPTIVE = "adaptive-mu"

INEXACTNESS_DISCLOSURE = Disclosure(
    name=INEXACTNESS,
    size="8 bytes",
    frequency="every round the client takes part in",
    privacy="how far local training got, hence the client's speed and the difficulty of its data",
)


@dataclass(frozen=True)
class AdaptiveMu:
    """mu between rounds.

    Attributes
    ----------
    mu : float
        The coefficient of the next round.
    loss : float
        The latest loss; infinite before the first one.
    falls : int
        Falls in a row.
    """

    mu: float
    loss: float = math.inf
    falls: int = 0

    def observe(self, loss: float) -> AdaptiveMu:
        """Return what follows from the loss of another round."""
        if math.isinf(self.loss):
            return AdaptiveMu(self.mu, loss)
        if loss > self.loss:
            return AdaptiveMu(self.mu + STEP, loss)
        falls = self.falls + 1 if loss < self.loss else 0
        if falls == FALLS:
            return AdaptiveMu(max(0.0, self.mu - STEP), loss)
        return AdaptiveMu(self.mu, loss, falls)


class FedProx(FedAvg):
    """FedAvg on the server; the proximal term lives in the clients' update.

    Parameters
    ----------
    mu : float (default: 1.0)
        Proximal coefficient, >= 0, of the client update that this rule asks for. The paper searches
        0.001, 0.01, 0.1 and 1; 1 is its best value on Synthetic, MNIST and FEMNIST. 0 is FedAvg.
    weighting : Weighting, optional
        How much each client counts (default: by sample counts).
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update.
    adaptive : bool (default: False)
        Let mu follow the loss; the paper starts at 1 on IID data and at 0 elsewhere.
    inexactness : bool (default: False)
        Ask every client for its gamma.
    """

    needs = "scalars"

    def __init__(
        self,
        mu: float = 1.0,
        weighting: Weighting | None = None,
        server_optimizer: ServerOptimizer | None = None,
        adaptive: bool = False,
        inexactness: bool = False,
    ) -> None:
        super().__init__(weighting, server_optimizer)
        if mu < 0.0:
            raise ValueError(f"mu must be >= 0, got {mu}")
        self.mu = mu
        self.adaptive = adaptive
        self.inexactness = inexactness
        self._adaptive = AdaptiveMu(mu)

    @property
    def asks(self) -> tuple[str, ...]:
        """Extras asked of every client."""
        own = ((RECEIVED_LOSS,) if self.adaptive else ()) + ((INEXACTNESS,) if self.inexactness else ())
        return tuple(dict.fromkeys(super().asks + own))

    @property
    def manifest(self) -> tuple[Disclosure, ...]:
        """Everything that leaves a site because of the rule."""
        loss = (RECEIVED_LOSS_DISCLOSURE,) if self.adaptive else ()
        gamma = (INEXACTNESS_DISCLOSURE,) if self.inexactness else ()
        return tuple(dict.fromkeys(super().manifest + loss + gamma))

    def check(self, reply: ClientReply) -> None:
        """Require usable numbers where they are asked for."""
        super().check(reply)
        if self.adaptive:
            received_loss(reply)
        if self.inexactness:
            _gamma(reply)

    def order(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> CohortOrder:
        """Ask with the global model, and an adaptive mu with it."""
        if self.adaptive:
            config = config.copy()
            config[PROXIMAL_MU] = self._adaptive.mu
        return super().order(server_round, arrays, config, grid)

    def weights(self, replies: Sequence[ClientReply]) -> Weights:
        """Weigh as FedAvg; an adaptive mu moves."""
        if self.adaptive:
            losses = [received_loss(reply) for reply in replies]
            for reply, loss in zip(replies, losses, strict=True):
                self.report.note_client(reply.node, mu=self._adaptive.mu, received_loss=loss)
            shares = sample_weights([reply.num_examples for reply in replies])
            self._adaptive = self._adaptive.observe(float(shares @ np.asarray(losses)))
        if self.inexactness:
            for reply in replies:
                self.report.note_client(reply.node, gamma=_gamma(reply))
        return super().weights(replies)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the server optimizer's state, and an adaptive mu."""
        state = super().state_dict()
        if self.adaptive:
            now = self._adaptive
            state[ADAPTIVE] = np.array([now.mu, now.loss, now.falls], np.float64)
        return state

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        rest = dict(state)
        if self.adaptive and ADAPTIVE in rest:
            mu, loss, falls = rest.pop(ADAPTIVE).tolist()
            self._adaptive = AdaptiveMu(mu, loss, int(falls))
        super().load_state_dict(rest)


def _gamma(reply: ClientReply) -> float:
    values = reply.extras[INEXACTNESS]
    value = values[0] if isinstance(values, list) and len(values) == 1 else None
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0.0:
        raise InvalidReplyError(f"{INEXACTNESS} must be one number >= 0, got {values!r}")
    return float(value)
