"""The commands as Python functions: ``fedbal.load``, ``run``, ``run_many``, ``resume``, ``open_run``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fedbal import scenario as scenarios
from fedbal.errors import UsageError
from fedbal.scenario import Scenario, from_mapping

if TYPE_CHECKING:
    from fedbal.comparison.replay import Replay
    from fedbal.comparison.result import ComparisonResult
    from fedbal.observer import Observer
    from fedbal.simulation import RunResult
    from fedbal.sweep import FailedRun


Overrides = Sequence[str] | Mapping[str, Any]


def load(source: str | Path, overrides: Overrides = (), **changes: Any) -> Scenario:
    """Load a scenario from a file or by the name of a shipped one.

    Parameters
    ----------
    source : str or Path
        Path of a YAML file, or a shipped name (``quickstart``).
    overrides : sequence of str or Mapping
        Changes: texts such as ``"strategy.a=0.3"``, or ``{"strategy.a": 0.3}``. Setting a block replaces it,
        setting a key changes it; later ones win.
    **changes
        The same as keywords, two underscores for a dot: ``rounds=5, strategy__a=0.3``.

    Raises
    ------
    UsageError
        Every problem of the file and the changes, each with key, value and what is allowed.

    Examples
    --------
    >>> load("quickstart", strategy="fedavg", data__partition__alpha=0.1).strategy.name
    'fedavg'
    """
    return scenarios.load(source, texts(overrides, changes))


def texts(overrides: Overrides = (), changes: Mapping[str, Any] | None = None) -> list[str]:
    """Return changes as ``key=value`` texts, as ``--set`` takes them.

    Parameters
    ----------
    overrides : sequence of str or Mapping
        Texts, or values by dotted key.
    changes : Mapping, optional
        Values by key, two underscores for a dot.
    """
    if isinstance(overrides, str):
        raise UsageError(f"overrides is the text {overrides!r}; give a list of texts, or a dictionary.")
    given = list(overrides) if not isinstance(overrides, Mapping) else []
    named = dict(overrides) if isinstance(overrides, Mapping) else {}
    named.update({key.replace("__", "."): value for key, value in (changes or {}).items()})
    return [*given, *(f"{key}={_yaml(value)}" for key, value in named.items())]


def _yaml(value: Any) -> str:
    """Write a value as YAML on one line."""
    try:
        text = yaml.safe_dump(_plain(value), default_flow_style=True, width=float("inf"), allow_unicode=True)
    except yaml.YAMLError as error:
        raise UsageError(f"the value {value!r} cannot stand in a scenario: {error}.") from error
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    """Turn paths, tuples and numpy values into what YAML knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value


def run(
    scenario: Scenario | str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    *,
    overrides: Overrides = (),
    observer: Observer | None = None,
) -> RunResult:
    """Simulate a scenario.

    Parameters
    ----------
    scenario : Scenario, str, Path or Mapping
        A loaded scenario, a YAML file, a shipped name, or what a YAML file would hold.
    out : str or Path, optional
        A new or empty directory; default ``runs/<name>-<time>``.
    overrides : sequence of str or Mapping
        Changes such as ``"strategy.a=0.3"`` or ``{"strategy.a": 0.3}``.
    observer : Observer, optional
        Is told of every round.

    Returns
    -------
    RunResult
        Directory, summary, rounds and clients as data frames, and the trained model.

    Raises
    ------
    FedbalError
        One message with what was given, what is allowed and how to fix it.
    """
    from fedbal import simulation

    changes = texts(overrides)
    if isinstance(scenario, Scenario):
        loaded = from_mapping(scenario.resolved(), overrides=changes) if changes else scenario
    elif isinstance(scenario, Mapping):
        loaded = from_mapping(scenario, overrides=changes)
    else:
        loaded = scenarios.load(scenario, changes)
    return simulation.run(loaded, None if out is None else Path(out), observer=observer)


def run_many(
    scenarios: Sequence[Scenario],
    out: str | Path | Sequence[str | Path],
    *,
    workers: int | None = None,
    observer: Callable[[int], Observer] | None = None,
) -> list[RunResult | FailedRun]:
    """Simulate many scenarios on processes that share modules and data; each leaves the bytes of :func:`run`.

    Called again with the same directories, it goes on with what was stopped and takes what is complete as it is.

    Parameters
    ----------
    scenarios : sequence of Scenario
        What to run, as :func:`load` gives them.
    out : str, Path or a sequence of them
        A folder for directories named by position and strategy, or one directory for each scenario.
    workers : int, optional
        Processes, >= 1; default: one a CPU, but no more than runs.
    observer : callable, optional
        Returns who is told of the run at a position.

    Returns
    -------
    list of RunResult or FailedRun
        In the order of the scenarios; a run that failed says why in ``reason`` and stops no other.
    """
    from fedbal import sweep

    return sweep.run_many(scenarios, out, workers=workers, observer=observer)


def compare(
    scenario: Scenario | str | Path | Mapping[str, Any],
    strategies: Sequence[str | Mapping[str, Any]] | None = None,
    seeds: str | int | Sequence[int] | None = None,
    *,
    out: str | Path | None = None,
    overrides: Overrides = (),
    vary: Mapping[str, Sequence[Any]] | None = None,
    baseline: str | None = None,
    primary: str | None = None,
    margin: float | None = None,
    budget: str | None = None,
    tune: int | None = None,
    references: bool | Sequence[str] | None = None,
    workers: int | None = None,
    address: str | None = None,
    progress: bool = False,
) -> ComparisonResult:
    """Run rules on the same seeds and say which differ.

    Called again with the same arguments it runs nothing that is there already; with more seeds it adds them.

    Parameters
    ----------
    scenario : Scenario, str, Path or Mapping
        A loaded scenario, a YAML file, a shipped name, or what a YAML file would hold. Its ``compare`` block says
        what is compared; what is given here replaces what it says.
    strategies : sequence of str or Mapping, optional
        Names of rules, ``./file.py:Class``, blocks such as ``{"name": "fedprox", "mu": 1.0}``, or
        ``{"label": ..., "set": {"client.loss": "focal"}}``.
    seeds : str, int or sequence of int, optional
        ``"0-9"``, ``"0-4,7"`` or the seeds themselves.
    out : str or Path, optional
        The comparison's directory; default ``runs/compare-<name>``.
    overrides : sequence of str or Mapping
        Changes of the scenario for all sides.
    vary : Mapping, optional
        Values by dotted key; every combination is a data set of its own.
    baseline, primary, margin, budget, tune, references, workers
        As the keys of the ``compare`` block.
    address : str, optional
        A Ray cluster to run on; None: processes of this machine.
    progress : bool
        Whether progress is printed.

    Returns
    -------
    ComparisonResult
        Data frames, verdicts in words, and the path of the report.

    Raises
    ------
    UsageError
        Something does not fit, or an extra is missing; nothing has been run.
    RunError
        Every run failed.

    Examples
    --------
    >>> found = compare("quickstart", ["fedavg", "fedprox"], seeds="0-9")  # doctest: +SKIP
    >>> found.table, found.verdicts, found.report  # doctest: +SKIP
    """
    from fedbal.comparison.base import open_base
    from fedbal.comparison.declaration import declare

    flags: dict[str, Any] = {
        "strategies": None if strategies is None else _plain(strategies),
        "seeds": seeds if isinstance(seeds, str | int) or seeds is None else [int(seed) for seed in seeds],
        "vary": None if vary is None else {key: _plain(list(values)) for key, values in vary.items()},
        "baseline": baseline,
        "primary": primary,
        "margin": margin,
        "budget": budget,
        "tune": tune,
        "references": references if isinstance(references, bool) or references is None else list(references),
        "workers": workers,
    }
    declaration = declare(open_base(scenario, texts(overrides)), flags)
    from fedbal.comparison import compare as comparing
    from fedbal.comparison.result import ComparisonResult
    from fedbal.comparison.watch import watcher

    prepared = comparing.prepare(declaration, None if out is None else Path(out))
    left = comparing.run(prepared, cluster=address, watch=watcher(quiet=not progress))
    return ComparisonResult(comparing.judge(prepared.store.path, left=left))


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


def replay(
    directory: str | Path,
    strategies: str | Sequence[str | Mapping[str, Any]] = "fedavg,uniform,feddisco",
    rounds: Iterable[int] | None = None,
) -> Replay:
    """Feed the updates that a run recorded to other aggregation rules: one-round counterfactuals.

    Parameters
    ----------
    directory : str or Path
        Directory of a run with ``runtime.record_updates``.
    strategies : str or sequence of str or Mapping
        Rules: names, blocks such as ``{"name": "feddisco", "a": 0.3}``, or ``./file.py:Class``.
    rounds : iterable of int, optional
        Which recorded rounds; None: all.

    Returns
    -------
    Replay
        Data frames ``models`` (next model's metrics), ``weights`` and ``pairs``.

    Raises
    ------
    UsageError
        Nothing is recorded, or none of the rules can be replayed.
    """
    from fedbal.comparison.replay import replay as feed

    return feed(directory, strategies, rounds)


def open_run(directory: str | Path) -> RunResult:
    """Open a run directory, finished or still running, for its rows, its summary and its model.

    Parameters
    ----------
    directory : str or Path
        The run directory.

    Raises
    ------
    UsageError
        It is none.
    """
    from fedbal import simulation

    return simulation.open_run(Path(directory))


__all__ = ["compare", "load", "open_run", "replay", "resume", "run", "run_many"]
