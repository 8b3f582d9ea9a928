"""The ten-minute proof: coordinator and sites on this machine, one of them killed and started again on the way."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedbal.deployment.loopback import Loopback
from fedbal.deployment.parity import RoundParity, compared, require_deployable, simulate
from fedbal.interrupts import Signals
from fedbal.observer import Observer
from fedbal.scenario import Scenario, one_by_one
from fedbal.scenario_blocks import DeploymentBlock

RECONNECT = 300.0
"""Seconds that a round waits for the killed site; Flower notices after 60 and lets it in again then."""
PAUSE = 3.0
"""Seconds that it stays away."""


class _Accident:
    """Passes a run on to an observer and kills a site after a round."""

    def __init__(
        self, inner: Observer, deployment: Loopback, number: int, say: Callable[[str], None]
    ) -> None:
        self._inner = inner
        self._deployment = deployment
        self._number = number
        self._say = say

    def started(self, scenario: Scenario, directory: Path, first_round: int) -> None:
        """Pass the start on."""
        self._inner.started(scenario, directory, first_round)

    def round_finished(self, row: Mapping[str, Any]) -> None:
        """Pass the round on; after the chosen one a site loses its power for some seconds."""
        self._inner.round_finished(row)
        if int(row["round"]) != self._number:
            return
        name = self._deployment.names[-1]
        self._say(f"{name} is killed; Flower notices that within a minute")
        self._deployment.kill_site(name)
        time.sleep(PAUSE)
        self._say(f"{name} is started again")
        self._deployment.start_site(name)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Pass the end on."""
        self._inner.finished(summary)

    def note(self, message: str) -> None:
        """Pass the note on."""
        self._inner.note(message)


def demo(
    scenario: Scenario, sites: int, out: Path, observer: Observer, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[RoundParity]]:
    """Run a scenario on sites of this machine through an accident, and compare it with its simulation.

    Parameters
    ----------
    scenario : Scenario
        What to run; as many clients as sites.
    sites : int
        How many.
    out : Path
        Run directory, new or empty.
    observer : Observer
        Is told of every round.
    say : callable
        Is told in one sentence what happens.

    Returns
    -------
    tuple of (dict, list of RoundParity)
        The summary of the deployed run, and how every round compares.
    """
    require_deployable(scenario)
    limits = scenario.deployment or DeploymentBlock()
    patient = limits.model_copy(update={"reconnect": max(RECONNECT, limits.reconnect)})
    alike = one_by_one(scenario.model_copy(update={"deployment": patient}))
    with tempfile.TemporaryDirectory(prefix="fedbal-demo-") as name:
        folder = Path(name)
        say(f"starting a coordinator and {sites} sites on this machine, with TLS and a key for each site")
        with Loopback(folder / "deployment", sites) as deployment, Signals() as signals:
            accident = _Accident(observer, deployment, max(1, scenario.rounds // 3), say)
            job, summary = deployment.run(alike, out, accident, signals)
        say("simulating the same scenario")
        return summary, compared(simulate(alike, folder / "simulated"), job)
