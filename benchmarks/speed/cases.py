"""The cases: what is trained, by whom, and what should come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.rows import (
    AUTO,
    COMPILED,
    FLOWER,
    HAND,
    HAND_2,
    LOOP,
    LOOP_2,
    ONE_BY_ONE,
    PFL,
    SWEEP,
    VECTORIZED,
    VECTORIZED_2,
    VECTORIZED_RAY,
    Row,
)


@dataclass(frozen=True)
class Case:
    """One table of rows that do the same arithmetic.

    Attributes
    ----------
    name, title : str
        What it is called, and what is trained.
    scenario : Mapping
        The scenario, but for data that the benchmark generates and for ``rounds``.
    data : str
        ``rows`` (vectors), ``images``, ``population`` (vectors, rows held by several clients), ``own`` (the
        scenario names its data) or ``none``.
    rounds : int
        Rounds of a repeat; the first ``warm`` are not counted.
    rows : tuple of Row
        Who does it.
    tolerance : float
        Largest difference of test accuracies from the first row that ran.
    warm : int
        Rounds that are start-up.
    unit : str
        ``client`` (milliseconds a client update) or ``total`` (seconds in all).
    samples : int
        Rows of a client, where the benchmark generates them.
    shape : tuple of int
        Images that the benchmark generates.
    reuse : str
        A case whose measurements serve this one too, if it was run.
    """

    name: str
    title: str
    scenario: Mapping[str, Any]
    data: str
    rounds: int
    rows: tuple[Row, ...]
    tolerance: float = 0.03
    warm: int = 3
    unit: str = "client"
    samples: int = 100
    shape: tuple[int, int, int] = (1, 28, 28)
    reuse: str = ""

    @property
    def cohort(self) -> int:
        """Clients a round."""
        return int(self.scenario.get("cohort", {}).get("size", 1))

    @property
    def clients(self) -> int:
        """All clients."""
        data = self.scenario.get("data", {})
        return int(data.get("clients", data.get("partition", {}).get("clients", 0)))


def _scenario(name: str, clients: int, cohort: int, model: Any, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "seed": 0,
        "data": {"partition": {"name": "iid", "clients": clients}, "validation": 0.0, "client_test": 0.0},
        "model": model,
        "strategy": "fedavg",
        "client": {"local_epochs": 1, "batch_size": 10, "optimizer": {"name": "sgd", "lr": 0.1}},
        "cohort": {"size": cohort},
        "evaluation": {"every": 1_000_000, "clients": 0},
        "runtime": {"threads": 1},
        **changes,
    }


_MLP = {"name": "mlp", "hidden": [64]}
_CNN = {"local_epochs": 1, "batch_size": 32, "optimizer": {"name": "sgd", "lr": 0.1}}


def _population(name: str, clients: int, *rows: Row) -> Case:
    return Case(
        f"population-{name}",
        f"the same with {clients:,} clients".replace(",", " "),
        _scenario(f"population-{name}", clients, 100, _MLP),
        "population",
        9,
        rows,
    )


_SKEWED = _scenario("skew", 100, 20, "cnn", client=_CNN)
_SKEWED["data"] = {**_SKEWED["data"], "quantity": {"name": "lognormal", "sigma": 1.0}}

_PROX = _scenario(
    "fedprox",
    30,
    10,
    "logistic",
    strategy={"name": "fedprox", "mu": 1.0},
    client={"local_epochs": 20, "batch_size": 10, "optimizer": {"name": "sgd", "lr": 0.01}},
)
_PROX["data"] = {
    "dataset": "synthetic",
    "alpha": 1.0,
    "beta": 1.0,
    "clients": 30,
    "partition": {"name": "natural_id", "partition_by": "client"},
    "validation": 0.0,
    "client_test": 0.0,
}

CASES = {
    case.name: case
    for case in (
        Case(
            "small",
            "1 000 clients, 100 a round, 100 samples, MLP 64-64-10, batch 10, 1 epoch",
            _scenario("small", 1000, 100, _MLP),
            "rows",
            12,
            (
                *(LOOP, VECTORIZED, COMPILED, VECTORIZED_2, VECTORIZED_RAY),
                *(HAND, PFL, FLOWER),
            ),
        ),
        _population("10k", 10_000, LOOP, VECTORIZED),
        _population("100k", 100_000, VECTORIZED),
        _population("1m", 1_000_000, VECTORIZED),
        Case(
            "fedprox",
            "FedProx on Synthetic(1, 1): logistic, 20 epochs, 10 of 30 clients of very unequal sizes",
            _PROX,
            "own",
            7,
            (AUTO, LOOP, HAND, FLOWER),
            warm=2,
        ),
        Case(
            "cnn",
            "simple-cnn on 28x28 images, 20 of 100 clients, 600 samples, batch 32",
            _scenario("cnn", 100, 20, "cnn", client=_CNN),
            "images",
            5,
            (LOOP, LOOP_2, HAND, HAND_2, PFL, FLOWER),
            samples=600,
            tolerance=0.04,
            warm=1,
        ),
        Case(
            "skew",
            "the same with log-normal sizes (sigma 1), two workers against one",
            _SKEWED,
            "images",
            5,
            (LOOP, LOOP_2),
            samples=600,
            tolerance=0.04,
            warm=1,
        ),
        Case(
            "startup",
            "from the start of the process to the end of its first round (case small)",
            _scenario("small", 1000, 100, _MLP),
            "rows",
            4,
            (LOOP, VECTORIZED, VECTORIZED_2, COMPILED, VECTORIZED_RAY, PFL, FLOWER),
            reuse="small",
        ),
        Case(
            "sweep",
            "6 rules x 5 seeds on quickstart",
            {},
            "none",
            1,
            (SWEEP, ONE_BY_ONE),
            unit="total",
        ),
    )
}
