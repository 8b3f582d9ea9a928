"""Systems heterogeneity: who straggles, who drops out, and what a round costs on a simulated clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedbal.seeding import stream

STRAGGLER = "straggler"
DROPOUT = "dropout"


@dataclass(frozen=True)
class Directive:
    """What one client of the cohort will do.

    Attributes
    ----------
    work : int, optional
        Local epochs (or steps) a straggler gets done; None: all of them.
    excluded : str, optional
        Why the client's work does not count; it is then not asked to train.
    """

    work: int | None = None
    excluded: str | None = None


@dataclass(frozen=True)
class Systems:
    """Draws stragglers and dropouts, the same for every rule of a seed.

    Attributes
    ----------
    seed : int
        Training seed.
    units : int
        Local epochs (or steps) of a full round.
    work : ndarray, shape (clients,)
        Samples that each client passes over in a full round.
    speeds : ndarray, shape (clients,)
        Samples per simulated second.
    fraction : float
        Stragglers in the cohort: exactly ``round(fraction * K)`` of K.
    policy : {"drop", "partial"}
        Whether a straggler's partial work is thrown away or kept.
    dropout : float
        Probability that a client does not answer at all.
    """

    seed: int
    units: int
    work: NDArray[np.float64]
    speeds: NDArray[np.float64]
    fraction: float = 0.0
    policy: Literal["drop", "partial"] = "drop"
    dropout: float = 0.0

    def directives(self, server_round: int, cohort: Sequence[int]) -> dict[int, Directive]:
        """Return what each client index of the cohort will do.

        A straggler does ``x`` of its E epochs, x uniform on 1..E (FedProx, section 5.2).
        """
        count = round(self.fraction * len(cohort))
        drawn = stream(self.seed, "stragglers", server_round).permutation(len(cohort))[:count]
        late = {cohort[int(position)] for position in drawn}
        return {client: self._directive(server_round, client, client in late) for client in cohort}

    def seconds(self, cohort: Sequence[int]) -> float:
        """Return the simulated seconds of a round: its deadline, the slowest full round of the cohort.

        A straggler runs slower than its speed this round: at the deadline it has done part of its work. So
        it costs the round the same time whether its work is kept or thrown away.
        """
        if not cohort:
            return 0.0
        members = np.asarray(cohort)
        return float((self.work[members] / self.speeds[members]).max())

    def client_seconds(self, directives: Mapping[int, Directive]) -> float:
        """Return the simulated seconds that the clients of a round spend on local work, added up.

        A straggler spends the share of its work that it gets done, thrown away or not; a client that drops out,
        nothing. Only samples passed over count: what a rule computes beside its local steps does not.
        """
        return float(sum(self._seconds_of(client, directive) for client, directive in directives.items()))

    def _seconds_of(self, client: int, directive: Directive) -> float:
        if directive.excluded == DROPOUT:
            return 0.0
        share = 1.0 if directive.work is None else directive.work / self.units
        return share * float(self.work[client] / self.speeds[client])

    def _directive(self, server_round: int, client: int, late: bool) -> Directive:
        if self.dropout and stream(self.seed, DROPOUT, client, server_round).random() < self.dropout:
            return Directive(excluded=DROPOUT)
        if not late:
            return Directive()
        done = int(stream(self.seed, "straggler-work", client, server_round).integers(1, self.units + 1))
        return Directive(work=done, excluded=STRAGGLER if self.policy == "drop" else None)


def draw_speeds(seed: int, clients: int, samples_per_second: float, sigma: float) -> NDArray[np.float64]:
    """Return each client's speed: log-normal around ``samples_per_second`` with log-spread ``sigma``."""
    return samples_per_second * np.exp(sigma * stream(seed, "speed").standard_normal(clients))
