"""local_only: no federation, the reference row that every federated rule has to beat.

Each client trains alone on its own data. Nothing of it is averaged: the global model stays the initial one in every
round, so that ``test`` shows an untrained model and the result stands in ``personal``, the clients' own models on
their own test data (``data.client_test``). A client trains in the rounds whose cohort it is in, the same local work
as under any other rule; with ``cohort: {fraction: 1}`` that is rounds x local epochs.
"""

from __future__ import annotations

from fedbal.protocol import Arrays
from strategies.base import AggregationRule

NOTE = "local_only: nothing is averaged, the global model stays the initial one; read `personal`"


class LocalOnly(AggregationRule):
    """Keeps the global model as it is; clients keep what they train."""

    def server_step(self, current: Arrays, combined: Arrays) -> Arrays:
        """Keep the model."""
        self.report.notes.append(NOTE)
        return current
