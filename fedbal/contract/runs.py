"""A short real run with a component: it trains, it resumes with the same bytes, Ray gives the same bytes."""

from __future__ import annotations

import hashlib
import importlib.util
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedbal.contract.base import Item, Skipped, require
from fedbal.errors import RunError
from fedbal.interrupts import Interrupted, StopRequested
from fedbal.observer import Silent
from fedbal.results import MODEL
from fedbal.scenario import Scenario, from_mapping

SCENARIO: dict[str, Any] = {
    "name": "check",
    "seed": 0,
    "rounds": 3,
    "data": {
        "dataset": "digits",
        "long_tail": {"imbalance_factor": 10},
        "partition": {"name": "dirichlet", "clients": 6, "alpha": 0.5},
    },
    "model": {"name": "mlp", "hidden": [16]},
    "strategy": "fedavg",
    "client": {"batch_size": 20, "optimizer": {"name": "sgd", "lr": 0.05}},
    "cohort": {"fraction": 0.5},
    "runtime": {"backend": "inprocess"},
}
"""Digits with a long tail on six skewed clients, three a round."""


class _StopAfterFirst(Silent):
    def round_finished(self, row: Mapping[str, Any]) -> None:
        if row["round"] == 1:
            raise StopRequested(signal.SIGINT)


class Trial:
    """Runs of one component in a folder that goes away at the end.

    Parameters
    ----------
    blocks : Mapping
        What is put into :data:`SCENARIO`: the strategy or the client update.
    """

    def __init__(self, blocks: Mapping[str, Any]) -> None:
        self._blocks = blocks
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._whole: str | None = None

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="fedbal-check-")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._folder is not None
        self._folder.cleanup()

    def path(self, name: str) -> Path:
        """Return a path in the folder."""
        assert self._folder is not None
        return Path(self._folder.name) / name

    def scenario(self, **runtime: Any) -> Scenario:
        """Return the scenario with the component in it."""
        mapping = {**SCENARIO, "runtime": {**SCENARIO["runtime"], **runtime}}
        client = {**SCENARIO["client"], **self._blocks.get("client", {})}
        return from_mapping({**mapping, **self._blocks, "client": client})

    def whole(self) -> str:
        """Return the hash of the model of an undisturbed run, which is done once."""
        if self._whole is None:
            from fedbal import simulation

            simulation.run(self.scenario(), self.path("whole"))
            self._whole = self.model("whole")
        return self._whole

    def model(self, name: str) -> str:
        """Return the hash of a run's model."""
        return hashlib.sha256((self.path(name) / MODEL).read_bytes()).hexdigest()


def trains(trial: Trial) -> str:
    """A short run finishes with a finite model."""
    from fedbal.results import RunReader

    trial.whole()
    summary = RunReader(trial.path("whole")).summary() or {}
    require(summary.get("status") == "finished", f"the run ended as {summary.get('status')}")
    score = (summary.get("final") or {}).get("balanced_accuracy")
    require(score is not None, "the run has no balanced accuracy")
    return f"3 rounds on skewed digits, balanced accuracy {score:.3f} (chance is 0.1)"


def resumes(trial: Trial) -> str:
    """A run that is stopped after a round and resumed has the bytes of one that was not."""
    from fedbal import simulation

    whole = trial.whole()
    try:
        simulation.run(trial.scenario(), trial.path("stopped"), observer=_StopAfterFirst())
    except Interrupted:
        simulation.resume(trial.path("stopped"))
    else:
        raise RunError("the run could not be stopped after its first round")
    require(trial.model("stopped") == whole, "the resumed model differs from that of an undisturbed run")
    return f"stopped after round 1 and resumed: the same bytes, SHA-256 {whole[:12]}"


def ray_agrees(trial: Trial) -> str:
    """Two Ray workers give the bytes of one process."""
    from fedbal import simulation

    if importlib.util.find_spec("ray") is None:
        raise Skipped("Ray is not installed: pip install 'fedbal[sim]'")
    whole = trial.whole()
    simulation.run(trial.scenario(backend="ray", workers=2), trial.path("ray"))
    require(trial.model("ray") == whole, "the model from two Ray workers differs from that of one process")
    return f"two Ray workers: the same bytes, SHA-256 {whole[:12]}"


def items(*, ray: bool) -> tuple[Item[Trial], ...]:
    """Return the checks that train; Ray's only on demand."""
    found = [
        Item("a short run trains", trains, "run it yourself to see more: fedbal run quickstart --set ..."),
        Item(
            "a resumed run has the same bytes",
            resumes,
            "what changes over rounds belongs into state_dict (rules) or local.state (updates); draw random "
            "numbers from fedbal.seeding.stream with the round in the key.",
        ),
    ]
    if ray:
        fix = "use no global state and no global random generator: every worker is a process of its own."
        found.append(Item("Ray gives the same bytes", ray_agrees, fix))
    return tuple(found)
