"""How the models of a round travel: as messages, as stacks, or as sums that the workers make."""

from __future__ import annotations

from typing import Literal

from flwr.serverapp.strategy import Strategy

from clients.engine import Engine
from strategies.base import AggregationRule, keeps, needs_of, takes_stacks
from strategies.mean import block_size

Exchange = Literal["messages", "stacks", "sums"]

SUMS_FROM = 1 << 24
"""Numbers in all models of a round from which workers sum, if that moves at most half as many bytes."""


def choose_exchange(strategy: Strategy, parameters: int, cohort: int, engine: Engine) -> Exchange:
    """Return how the models of virtual clients reach the rule; a pure function of scenario and rule.

    Parameters
    ----------
    strategy : Strategy
        A stock Flower strategy, and a rule that replaces Flower's own hooks, gets messages.
    parameters : int
        Numbers in a model, as far as it travels.
    cohort : int
        Clients of a round.
    engine : Engine
        How they are trained, which decides what is summed together.
    """
    if not isinstance(strategy, AggregationRule) or not takes_stacks(strategy):
        return "messages"
    together = engine.chunk if engine.together else block_size(cohort)
    chunks = -(-cohort // together)
    # A sum has eight bytes a parameter, a model four.
    pays = parameters * cohort >= SUMS_FROM and 4 * chunks <= cohort
    return "sums" if pays and needs_of(strategy) == "scalars" else "stacks"


def reads_evaluations(strategy: Strategy) -> bool:
    """Tell whether a strategy must see the clients' answers to an evaluation, as messages.

    fedbal's own hook averages their metrics and changes nothing; a stock strategy's and a replaced one may.
    """
    return not isinstance(strategy, AggregationRule) or not keeps(strategy, "aggregate_evaluate")
