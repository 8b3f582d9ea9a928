"""TemplateName: an aggregation rule; replace this line with what yours does.

Authors, "Title", venue and year. The formula, in the words of the code below:

    w^{t+1} = sum_k p_k w_k,    p_k = n_k^q / sum_j n_j^q,

over the clients j that replied in round t; ``w_k`` is client k's model, ``n_k`` its number of samples. ``q = 1`` is
FedAvg, ``q = 0`` weighs every client the same.

Run it:    fedbal run quickstart --set strategy=./template_name.py:TemplateName
Check it:  fedbal check ./template_name.py:TemplateName
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from strategies.base import AggregationRule
from strategies.validation import ClientReply


# The rule as a pure function on arrays: easy to test against numbers worked out by hand.
def template_name_weights(num_examples: ArrayLike, power: float) -> NDArray[np.float64]:
    """Return ``p_k = n_k^q / sum_j n_j^q``.

    Parameters
    ----------
    num_examples : array_like, shape (n,)
        Samples of each client, positive.
    power : float
        The exponent q, in [0, 1].

    Returns
    -------
    ndarray, shape (n,)
        Weights, non-negative, summing to 1.
    """
    raw = np.asarray(num_examples, np.float64) ** power
    weights: NDArray[np.float64] = raw / raw.sum()
    return weights


# The class is thin. Replace any of weights(replies), combine(replies, weights) and
# server_step(current, combined); what stands around them (asking clients, dropping bad replies, recording) is done.
class TemplateName(AggregationRule):
    """Weighs clients by a power of their sample counts.

    Parameters
    ----------
    power : float (default: 0.5)
        The exponent q, in [0, 1]; 1 is FedAvg. In a scenario: ``strategy: {name: ..., power: 0.5}``.
    """

    def __init__(self, power: float = 0.5) -> None:
        super().__init__()
        if not 0.0 <= power <= 1.0:
            raise ValueError(f"power must be in [0, 1], got {power}")
        self.power = power

    def weights(self, replies: Sequence[ClientReply]) -> NDArray[np.float64]:
        """Return one weight a reply; replies are valid and come sorted by client."""
        # At hand: reply.num_examples, reply.arrays (the client's model), reply.metrics, reply.extras. A rule that
        # needs label counts sets `requests = ("label-counts",)` and reads reply.extras["label-counts"].
        return template_name_weights([reply.num_examples for reply in replies], self.power)

    # A rule that keeps something between rounds returns it as arrays, so that a resumed run goes on with it:
    #
    #     def state_dict(self): return {"momentum": self._momentum}
    #     def load_state_dict(self, state): self._momentum = state["momentum"]
