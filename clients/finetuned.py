"""Local fine-tuning: what a client has of a global model after a round of training of its own.

Wang, Mathews, Kiddon, Eichner, Beaufays, Ramage, "Federated Evaluation of On-device Personalization", arXiv
1910.10252, 2019: a client trains the global model on its own training rows and compares both on rows that it kept
apart. Yu, Bagdasaryan, Shmatikov, "Salvaging Federated Learning by Local Adaptation", arXiv 2002.04758, 2020, call
it FT, and judge a federated model by how many clients it serves better than what they train alone.

With w the received model, the personal model is

    w_k = ClientUpdate(k, w),

the local work of a whole round, with the client's loss, optimizer, rate and minibatches of the round in which it
evaluates: for a client that trains in that round too, the model that it sends back. It is made anew at each
evaluation, evaluated on the client's own test rows beside the received one, and thrown away, so that federated
training does not notice. It costs every evaluating client a round of training each time; so it is done in the last
``share`` of the rounds only, those over which results are averaged.
"""

from __future__ import annotations

import math

from clients.base import Criterion, LocalRound, Tensors
from clients.standard import Standard


class FineTuned(Standard):
    """The standard update; at the end of a run its clients evaluate a fine-tuned copy beside the received model.

    Parameters
    ----------
    criterion : Criterion
        The loss on logits.
    share : float (default: 0.1)
        Last share of the rounds in which clients fine-tune, in (0, 1], rounded up; 1: in every evaluated round.
    """

    def __init__(self, criterion: Criterion, share: float = 0.1) -> None:
        super().__init__(criterion)
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share must be in (0, 1], got {share}")
        self.share = share

    def personal(self, local: LocalRound) -> Tensors | None:
        """Return the received model after a round of training on the client's own rows.

        None before the last ``share`` of the rounds, and for a client without training rows.
        """
        # Products such as .1 * 30 lie a little above the whole number that is meant.
        first = local.rounds - math.ceil(self.share * local.rounds - 1e-9) + 1
        if local.train is None or local.round < first or not len(local.data.train):
            return None
        return local.train()
