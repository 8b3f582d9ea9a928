"""Training alone: every client goes on from its own model and sends nothing of it.

The reference row without federation. A client starts from the model that it receives first, the same for all, and
from its own one ever after; the model stays in its state, is evaluated as its personal model, and the reply carries
the received model back unchanged. Its local work is that of every other update: with a cohort of all clients, each
client trains for rounds x local epochs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from clients.base import LocalRound, Tensors
from clients.records import encode
from clients.standard import Standard
from fedbal.protocol import to_arrays

STATE = "local-only"


class LocalOnly(Standard):
    """The standard update without federation.

    Parameters
    ----------
    criterion : Criterion
        The loss on logits.
    """

    def start(self, local: LocalRound) -> Tensors:
        """Go on from the client's own model."""
        own = self.personal(local)
        return local.received if own is None else own

    def after(self, local: LocalRound, trained: Tensors) -> Mapping[str, list[float]]:
        """Keep the trained model."""
        local.state[STATE] = encode(trained)
        return {}

    def outgoing(self, local: LocalRound, trained: Tensors) -> Tensors:
        """Send the received model back."""
        return local.received

    def personal(self, local: LocalRound) -> Tensors | None:
        """Return the client's own model, once it has trained."""
        if STATE not in local.state:
            return None
        arrays = to_arrays(local.state.array_records[STATE])
        return {name: torch.from_numpy(arrays[name]).to(value) for name, value in local.received.items()}
