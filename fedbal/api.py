"""The commands as Python functions: ``fedbal.load``, ``fedbal.run``, ``fedbal.resume``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbal.scenario import Scenario, from_mapping, load

if TYPE_CHECKING:
    from fedbal.observer import Observer
    from fedbal.simulation import RunResult


def run(
    scenario: Scenario | str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    observer: Observer | None = None,
) -> RunResult:
    """Simulate a scenario.

    Parameters
    ----------
    scenario : Scenario, str, Path or Mapping
        A loaded scenario, a YAML file, a shipped name, or what a YAML file would hold.
    out : str or Path, optional
        A new or empty directory; default ``runs/<name>-<time>``.
    overrides : sequence of str
        Changes such as ``"strategy.a=0.3"``.
    observer : Observer, optional
        Is told of every round.

    Returns
    -------
    RunResult
        Directory, summary and status.

    Raises
    ------
    FedbalError
        One message with what was given, what is allowed and how to fix it.
    """
    from fedbal import simulation

    if isinstance(scenario, Scenario):
        loaded = from_mapping(scenario.resolved(), overrides=overrides) if overrides else scenario
    elif isinstance(scenario, Mapping):
        loaded = from_mapping(scenario, overrides=overrides)
    else:
        loaded = load(scenario, overrides)
    return simulation.run(loaded, None if out is None else Path(out), observer=observer)


def resume(directory: str | Path, *, observer: Observer | None = None) -> RunResult:
    """Go on with a run that was stopped or killed.

    Parameters
    ----------
    directory : str or Path
        Its run directory.
    observer : Observer, optional
        Is told of every round.
    """
    from fedbal import simulation

    return simulation.resume(Path(directory), observer=observer)


__all__ = ["load", "resume", "run"]
