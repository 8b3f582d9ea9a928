"""FedBR: FedAvg's average over clients that share a few pseudo-samples, collected once before round 1.

Guo, Tang, Lin, "FedBR: Improving Federated Learning on Heterogeneous Data via Local Learning Bias Reduction", ICML
2023, arXiv 2205.13462. Before round 1 the rule draws P clients uniformly, with replacement, and asks each drawn one
for as many means of M of its own images as it was drawn: **means of raw images leave the client**. The P
pseudo-samples then go to the clients with every model. Features, classifier and projection head are averaged as in
FedAvg; the local objective is the client update of the same name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from fedbal import protocol
from fedbal.protocol import PSEUDO, PSEUDO_SAMPLES, Arrays, Disclosure, to_arrays, to_record
from fedbal.seeding import stream
from strategies.fedavg import FedAvg
from strategies.server_optimizers import ServerOptimizer
from strategies.stacked import Kept
from strategies.validation import Validated
from strategies.weighting import Weighting

STATE = f"{PSEUDO}/x"


class FedBR(FedAvg):
    """FedAvg on the server, after one exchange of pseudo-samples.

    Parameters
    ----------
    mu, lam, tau1, tau2 : float
        As in :class:`clients.fedbr.FedBR`.
    pseudo : {"rsm", "mixture"}
        What clients make of the samples (default: rsm).
    images : int (default: 10)
        M, images in a mean, >= 2.
    samples : int, optional
        P, pseudo-samples, at least the batch size (default: the batch size).
    weighting : Weighting, optional
        How much each client counts (default: by sample counts).
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update.
    """

    needs = "scalars"
    discloses = (
        Disclosure(
            name=PSEUDO,
            size="one input of the model in float32 for each pseudo-sample drawn at the client",
            frequency="once, before round 1",
            privacy="means of a few of the client's raw images (or rows): they blur but guarantee nothing, and one "
            "image may dominate a mean; every client receives them",
        ),
    )

    def __init__(
        self,
        mu: float = 0.5,
        lam: float = 1.0,
        tau1: float = 2.0,
        tau2: float = 2.0,
        pseudo: Literal["rsm", "mixture"] = "rsm",
        images: int = 10,
        samples: int | None = None,
        weighting: Weighting | None = None,
        server_optimizer: ServerOptimizer | None = None,
    ) -> None:
        super().__init__(weighting, server_optimizer)
        if min(mu, lam, tau1, tau2) < 0.0 or images < 2 or (samples is not None and samples < 1):
            raise ValueError(
                "need mu, lam, tau1, tau2 >= 0, images >= 2 and samples >= 1, got "
                f"{mu}, {lam}, {tau1}, {tau2}, {images}, {samples}"
            )
        self.mu = mu
        self.lam = lam
        self.tau1 = tau1
        self.tau2 = tau2
        self.pseudo: Literal["rsm", "mixture"] = pseudo
        self.images = images
        self.samples = samples
        self._drawn: list[int] = []
        self._samples: NDArray[Any] | None = None
        self._note = ""

    def configure_opening(self, grid: Grid) -> Iterable[Message]:
        """Ask the drawn clients for their share of the pseudo-samples.

        Raises
        ------
        ValueError
            There are fewer pseudo-samples than samples in a batch.
        """
        batch = self.context.batch_size if self.context else 0
        count = self.samples or batch or 32
        if count < batch:
            raise ValueError(
                f"strategy.samples is {count}, but every sample of a batch needs a pseudo-sample; give at least "
                f"client.batch_size ({batch}), or leave it out"
            )
        nodes = sorted(grid.get_node_ids())
        seed = self.context.seed if self.context else 0
        drawn = stream(seed, "pseudo-clients").integers(0, len(nodes), count)
        self._drawn = [nodes[position] for position in drawn]
        return [
            Message(_question(self._drawn.count(node)), node, MessageType.QUERY, group_id="0")
            for node in sorted(set(self._drawn))
        ]

    def aggregate_opening(self, replies: Iterable[Message]) -> None:
        """Put the answers in the order in which clients were drawn; what is missing is made up by the others.

        Raises
        ------
        ValueError
            No client answered with usable samples.
        """
        shares: dict[int, list[NDArray[Any]]] = {}
        failed: dict[int, str] = {}
        shape: tuple[int, ...] | None = None
        for reply in sorted(replies, key=lambda reply: reply.metadata.src_node_id):
            node = reply.metadata.src_node_id
            try:
                share = _share(reply, self._drawn.count(node), shape)
            except (ValueError, TypeError, KeyError) as error:
                failed[node] = str(error)
                continue
            shape = share.shape[1:]
            shares[node] = list(share)
        found = [shares[node].pop(0) for node in self._drawn if node in shares]
        if not found:
            reasons = (
                "; ".join(f"node {node}: {reason}" for node, reason in failed.items()) or "nobody replied"
            )
            raise ValueError(f"no client sent pseudo-samples ({reasons})")
        self._samples = np.stack([found[i % len(found)] for i in range(len(self._drawn))])
        silent = len(set(self._drawn)) - len(shares)
        self._note = (
            f"{silent} clients sent no pseudo-samples; those of the others are repeated" if silent else ""
        )

    def aggregate(
        self, server_round: int, validated: Validated, kept: Kept | None = None
    ) -> tuple[Arrays | None, MetricRecord | None]:
        """Average as FedAvg; the first round notes who took no part in the exchange."""
        result = super().aggregate(server_round, validated, kept)
        if self._note:
            self.report.notes.append(self._note)
            self._note = ""
        return result

    def sends(self) -> dict[str, ArrayRecord]:
        """Send the pseudo-samples."""
        more = super().sends()
        return more if self._samples is None else {**more, PSEUDO: to_record({"x": self._samples})}

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the pseudo-samples beside the server optimizer's state."""
        own = {} if self._samples is None else {STATE: self._samples}
        return {**own, **super().state_dict()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._samples = state.get(STATE)
        super().load_state_dict({name: value for name, value in state.items() if name != STATE})


def _question(count: int) -> RecordDict:
    return RecordDict({protocol.CONFIG: ConfigRecord({PSEUDO_SAMPLES: count})})


def _share(reply: Message, count: int, shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Return a client's pseudo-samples (count, ...) in float32; raises ``ValueError`` for anything else."""
    if not reply.has_content():
        raise ValueError(reply.error.reason or f"error {reply.error.code}")
    record = reply.content.array_records.get(PSEUDO)
    if record is None:
        raise ValueError(f"the reply lacks the array record {PSEUDO!r}; choose client.update: auto or fedbr")
    x = to_arrays(record)["x"]
    if not count or len(x) != count or (shape is not None and x.shape[1:] != shape):
        raise ValueError(f"{count} pseudo-samples of shape {shape or 'any'} were asked for, got {x.shape}")
    if x.dtype != np.float32 or not np.isfinite(x).all():
        raise ValueError(f"pseudo-samples must be finite float32, got {x.dtype}")
    return x
