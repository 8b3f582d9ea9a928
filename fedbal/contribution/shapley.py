"""Leave-one-out and Shapley values of clients, from the utilities of coalitions.

With n clients and V(S) the utility of what the coalition S trains,

    phi_i = 1/n sum over S without i of [V(S + i) - V(S)] / binom(n - 1, |S|)    (Shapley 1953)
    loo_i = V(N) - V(N - i)

phi_i is also the mean gain of i over all orders in which clients can join. Truncated Monte-Carlo averages over
random orders and stops walking along one when the utility has stayed near V(N): Ghorbani, Zou, "Data Shapley:
Equitable Valuation of Data for Machine Learning", ICML 2019, arXiv 1904.02868. Utilities that truncation skips are
never taken for measured ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedbal.seeding import stream

Coalition = frozenset[int]
Utility = Callable[[Coalition], float]


@dataclass(frozen=True)
class Estimate:
    """Values from random orders.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Mean gain of each client.
    standard_errors : ndarray, shape (n,)
        Standard error of each mean over the orders; NaN for a single order.
    orders : int
        Orders walked.
    evaluations : int
        Different coalitions that were measured.
    skipped : int
        Steps along orders whose gain was taken to be 0 by truncation.
    """

    values: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    orders: int
    evaluations: int
    skipped: int


def exact_shapley(values: Mapping[Coalition, float] | Utility, n: int) -> NDArray[np.float64]:
    """Return the Shapley value of each of n clients.

    Parameters
    ----------
    values : mapping or callable
        Utility of every coalition, a frozenset of clients in 0 .. n - 1; all ``2**n`` are read, each once.
    n : int
        Clients, >= 1.

    Returns
    -------
    ndarray, shape (n,)
        They sum to ``V(everyone) - V(nobody)``.

    Raises
    ------
    ValueError
        There is no client, or a coalition has no utility.
    """
    utility = _utility(values, n)
    measured = [utility(_members(mask, n)) for mask in range(2**n)]
    shares = [1.0 / (n * math.comb(n - 1, size)) for size in range(n)]
    return np.array(
        [
            math.fsum(
                shares[mask.bit_count()] * (measured[mask | 1 << client] - measured[mask])
                for mask in range(2**n)
                if not mask >> client & 1
            )
            for client in range(n)
        ]
    )


def leave_one_out(values: Mapping[Coalition, float] | Utility, n: int) -> NDArray[np.float64]:
    """Return what the utility of everyone loses without each of n clients, shape (n,); see `exact_shapley`."""
    utility, everyone = _utility(values, n), frozenset(range(n))
    full = utility(everyone)
    return np.array([full - utility(everyone - {client}) for client in range(n)])


def truncated_monte_carlo(
    values: Mapping[Coalition, float] | Utility,
    n: int,
    orders: int,
    seed: int,
    *,
    tolerance: float = 0.01,
    patience: int = 5,
    guided: bool = False,
) -> Estimate:
    """Estimate Shapley values from random orders.

    Parameters
    ----------
    values : mapping or callable
        Utility of a coalition; each coalition is read at most once.
    n : int
        Clients, >= 1.
    orders : int
        Orders to walk, >= 1.
    seed : int
        Decides the orders, each for itself: more orders begin with the same ones.
    tolerance : float
        Share of |V(everyone)| that counts as near, >= 0.
    patience : int
        Steps in a row near V(everyone) after which the next near one ends the order; n or more never truncates.
    guided : bool
        Let every client be first equally often (Liu et al., "GTG-Shapley", ACM TIST 2022); the mean over every n
        orders stays unbiased.

    Raises
    ------
    ValueError
        A parameter is out of its range, or a coalition has no utility.
    """
    if orders < 1 or tolerance < 0 or patience < 0:
        raise ValueError(f"need orders >= 1, tolerance, patience >= 0; got {orders}, {tolerance}, {patience}")
    utility, cache = _utility(values, n), dict[Coalition, float]()

    def measure(coalition: Coalition) -> float:
        if coalition not in cache:
            cache[coalition] = utility(coalition)
        return cache[coalition]

    gains, skipped = np.zeros((orders, n)), 0
    near = tolerance * abs(measure(frozenset(range(n))))
    for index in range(orders):
        order = draw_order(n, seed, index, guided=guided)
        walked = walk(order, measure, near, patience)
        gains[index, order[: len(walked)]] = walked
        skipped += n - len(walked)
    errors = gains.std(axis=0, ddof=1) / math.sqrt(orders) if orders > 1 else np.full(n, np.nan)
    return Estimate(gains.mean(axis=0), errors, orders, len(cache), skipped)


def draw_order(n: int, seed: int, index: int, *, guided: bool = False) -> list[int]:
    """Return order ``index`` of n clients; guided: client ``index mod n`` is first, the rest as drawn."""
    order: list[int] = stream(seed, "contribution-order", index).permutation(n).tolist()
    if not guided:
        return order
    first = index % n
    return [first, *(client for client in order if client != first)]


def walk(order: Sequence[int], measure: Utility, near: float, patience: int) -> list[float]:
    """Return the gains along an order of everyone, up to where truncation ends it.

    Parameters
    ----------
    order : sequence of int
        Every client once.
    measure : callable
        Utility of a coalition.
    near : float
        A utility this close to that of everyone counts towards truncation, >= 0.
    patience : int
        The order ends after more than this many such utilities in a row.
    """
    full, before = measure(frozenset(order)), measure(frozenset())
    gains: list[float] = []
    row = 0
    for position in range(len(order)):
        reached = measure(frozenset(order[: position + 1]))
        gains.append(reached - before)
        before = reached
        row = row + 1 if abs(reached - full) <= near else 0
        if row > patience:
            break
    return gains


def _utility(values: Mapping[Coalition, float] | Utility, n: int) -> Utility:
    if n < 1:
        raise ValueError(f"need at least one client, got {n}")
    if not isinstance(values, Mapping):
        return values
    table = values

    def look_up(coalition: Coalition) -> float:
        if coalition not in table:
            raise ValueError(f"no utility for the coalition {sorted(coalition)}")
        return table[coalition]

    return look_up


def _members(mask: int, n: int) -> Coalition:
    return frozenset(client for client in range(n) if mask >> client & 1)
