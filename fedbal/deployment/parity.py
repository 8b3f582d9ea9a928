"""Whether a deployment computes what the simulation computes: the global model after every round, byte for byte."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from fedbal import simulation
from fedbal.deployment.job import JobFolder
from fedbal.deployment.loopback import Loopback
from fedbal.errors import UsageError
from fedbal.interrupts import Signals
from fedbal.observer import Observer, Silent
from fedbal.protocol import Arrays
from fedbal.reference import pools_clients
from fedbal.scenario import Scenario, one_by_one


@dataclass(frozen=True)
class RoundParity:
    """How two models of one round differ.

    Attributes
    ----------
    round : int
        Round, from 1.
    equal : bool
        Whether they are the same bytes.
    difference : float
        Largest absolute difference of two numbers; NaN if their names or shapes differ.
    """

    round: int
    equal: bool
    difference: float


def require_deployable(scenario: Scenario) -> None:
    """Refuse a scenario that only a simulation can run.

    Raises
    ------
    UsageError
        It pools the clients' data, or measures on them what no message carries.
    """
    if pools_clients(scenario):
        raise UsageError(
            f"strategy: {scenario.strategy.name} trains on the pooled data of all clients, which only a simulation "
            "holds; run it with `fedbal run`."
        )
    if scenario.evaluation.dissimilarity:
        raise UsageError(
            "evaluation.dissimilarity reads the rows of all clients, which only a simulation holds."
        )


def parity(
    scenario: Scenario, deployment: Loopback, folder: Path, observer: Observer | None = None
) -> list[RoundParity]:
    """Run a scenario in simulation and on a deployment and compare every round.

    Parameters
    ----------
    scenario : Scenario
        What to run; as many clients as the deployment has sites.
    deployment : Loopback
        A running deployment; it can serve many comparisons.
    folder : Path
        For both run directories, ``simulated`` and ``deployed``.
    observer : Observer, optional
        Is told of every deployed round.
    """
    require_deployable(scenario)
    alike = one_by_one(scenario)
    simulated = simulate(alike, folder / "simulated")
    with Signals() as signals:
        job, _ = deployment.run(alike, folder / "deployed", observer or Silent(), signals)
    return compared(simulated, job)


def simulate(scenario: Scenario, out: Path) -> dict[int, Arrays]:
    """Simulate a scenario in this process into a new directory; returns the global model after each round."""
    runtime = scenario.runtime.model_copy(update={"backend": "inprocess"})
    models: dict[int, Arrays] = {}

    def keep(number: int, arrays: Arrays) -> None:
        models[number] = {name: value.copy() for name, value in arrays.items()}

    simulation.run(scenario.model_copy(update={"runtime": runtime}), out, after_round=keep)
    return models


def compared(simulated: dict[int, Arrays], job: JobFolder) -> list[RoundParity]:
    """Compare the models of a simulation with those that a deployed job kept."""
    return [
        _round(number, arrays, load_file(job.model(number))) for number, arrays in sorted(simulated.items())
    ]


def alone(scenario: Scenario, sites: int, observer: Observer | None = None) -> list[RoundParity]:
    """Compare a scenario on a deployment of its own, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="fedbal-parity-") as name:
        folder = Path(name)
        with Loopback(folder / "deployment", sites) as deployment:
            return parity(scenario, deployment, folder, observer)


def largest(rounds: Sequence[RoundParity]) -> float:
    """Return the largest difference over the rounds; NaN if one has none."""
    return float(np.max([one.difference for one in rounds]))


def _round(number: int, one: Arrays, other: Arrays) -> RoundParity:
    if _layout(one) != _layout(other):
        return RoundParity(number, False, float("nan"))
    equal = all(value.tobytes() == other[name].tobytes() for name, value in one.items())
    apart = [np.abs(value.astype(np.float64) - other[name]).max(initial=0.0) for name, value in one.items()]
    return RoundParity(number, equal, float(max(apart, default=0.0)))


def _layout(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (value.shape, value.dtype.str) for name, value in arrays.items()}
