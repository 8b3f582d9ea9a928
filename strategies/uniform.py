"""Uniform mean: every client counts the same, whatever its size.

The control row for rules whose weights are pulled towards uniform: ``w <- (1/S) sum_k w_k`` over the S clients that
replied. With equal sample counts it is FedAvg.
"""

from __future__ import annotations

from strategies.base import AggregationRule
from strategies.server_optimizers import ServerOptimizer
from strategies.weighting import Uniform


class UniformMean(AggregationRule):
    """A preset: equal weights.

    Parameters
    ----------
    server_optimizer : ServerOptimizer, optional
        How the model moves along the average update.
    """

    def __init__(self, server_optimizer: ServerOptimizer | None = None) -> None:
        super().__init__(Uniform(), server_optimizer)
