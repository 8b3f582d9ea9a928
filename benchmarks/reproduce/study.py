"""What a study is made of: settings x arms x seeds at a size, its metrics, and claims fixed before running."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fedbal.results import RunReader
from fedbal.scenario import Scenario, from_mapping, load

Direction = Literal["higher", "lower", "similar"]
Measure = Callable[[Scenario, RunReader], Mapping[str, float]]
Renderer = Callable[[Mapping[str, Any], Mapping[str, str]], str]
Drawer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Metric:
    """A number of every evaluated round.

    Attributes
    ----------
    name : str
        What endpoints call it: ``accuracy`` gives ``accuracy.last``, ``accuracy.last10``, ``accuracy.best``.
    path : str
        Dotted place in a row of ``rounds.jsonl``.
    label : str
        What tables and axes call it.
    higher : bool
        Whether more is better; decides what the best round is.
    percent : bool
        Whether tables show it times 100.
    log : bool
        Whether figures use a logarithmic axis.
    """

    name: str
    path: str
    label: str
    higher: bool = True
    percent: bool = False
    log: bool = False


ACCURACY = Metric("accuracy", "test.accuracy", "test accuracy, %", percent=True)
BALANCED = Metric("balanced", "test.balanced_accuracy", "balanced accuracy, %", percent=True)


@dataclass(frozen=True)
class Claim:
    """One effect that is looked for; written down before the study runs.

    Attributes
    ----------
    name : str
        Short key.
    text : str
        The claim as a sentence.
    source : str
        Where it is claimed: paper, figure or table.
    setting : str
        Setting of the study in which it is judged.
    a, b : str
        Arms; the difference is a minus b, seed by seed.
    direction : str
        What the claim says of a minus b: ``higher``, ``lower``, or ``similar`` (within the margin).
    endpoint : str
        Number that is compared.
    margin : float
        Smallest mean difference that counts, in the endpoint's unit; for ``similar`` the largest.
    """

    name: str
    text: str
    source: str
    setting: str
    a: str
    b: str
    direction: Direction = "higher"
    endpoint: str = "accuracy.last10"
    margin: float = 0.0


@dataclass(frozen=True)
class Setting:
    """Data and systems on which arms are compared: overrides of the base scenario."""

    name: str
    title: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arm:
    """A method: overrides that come after those of setting and size.

    Attributes
    ----------
    name, label : str
        Key, and what tables call it.
    overrides : tuple of str
        Changes as ``--set`` takes them.
    settings : tuple of str, optional
        Settings in which it takes part; left out: all.
    """

    name: str
    label: str
    overrides: tuple[str, ...] = ()
    settings: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Size:
    """How large a study is run.

    Attributes
    ----------
    about : str
        What it costs, in a few words.
    seeds : tuple of int
        Every arm runs with each of them; at least 7 where verdicts are drawn.
    overrides : tuple of str
        Changes of every run, between setting and arm.
    settings : tuple of str, optional
        Settings that are run; left out: all.
    arms : tuple of str, optional
        Arms that are run; left out: all.
    by_setting : mapping
        Further changes for the runs of a setting.
    """

    about: str
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    settings: tuple[str, ...] | None = None
    arms: tuple[str, ...] | None = None
    by_setting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    setting: str
    arm: str
    seed: int
    scenario: Scenario


@dataclass(frozen=True)
class Study:
    """A published effect and how it is measured.

    Attributes
    ----------
    name, title, paper : str
        Key, heading, citation.
    base : str or mapping
        Name of a shipped scenario, or what its YAML would hold.
    settings, arms : tuple
        What is crossed.
    sizes : mapping
        ``smoke`` (seconds), ``cpu`` (two cores), ``full`` (the paper's); further names are further sizes.
    claims : tuple of Claim
        What is judged.
    metrics : tuple of Metric
        What is read of every evaluated round.
    windows : tuple of int
        Endpoints over the last so many rounds, beside ``last`` and ``best``.
    measure : callable, optional
        A function of a module, called with scenario and finished run in the process that ran it; returns more
        endpoints by name.
    reference : mapping, optional
        Published or independently computed numbers that the page shows beside ours.
    render : callable, optional
        Fills a page instead of the general renderer: called with the content of the results file and the
        marker's arguments, returns markdown.
    draw : callable, optional
        Draws instead of the general figure: called with the content of the results file, returns figures
        (matplotlib) by the end of their file name, "" for the main one.
    """

    name: str
    title: str
    paper: str
    base: str | Mapping[str, Any]
    settings: tuple[Setting, ...]
    arms: tuple[Arm, ...]
    sizes: Mapping[str, Size]
    claims: tuple[Claim, ...] = ()
    metrics: tuple[Metric, ...] = (ACCURACY, BALANCED)
    windows: tuple[int, ...] = (10,)
    measure: Measure | None = None
    reference: Mapping[str, Any] | None = None
    render: Renderer | None = None
    draw: Drawer | None = None

    def pairs(self, size: str) -> list[tuple[Setting, Arm]]:
        """Return the settings and arms that a size runs, in order."""
        wanted = self.sizes[size]
        return [
            (setting, arm)
            for setting in self.settings
            if wanted.settings is None or setting.name in wanted.settings
            for arm in self.arms
            if (arm.settings is None or setting.name in arm.settings)
            and (wanted.arms is None or arm.name in wanted.arms)
        ]

    def scenario(
        self, size: str, setting: Setting, arm: Arm, seed: int, device: str | None = None
    ) -> Scenario:
        """Return the scenario of one run, in this process, with one thread, on a device if one is named.

        Raises
        ------
        UsageError
            The overrides do not make a valid scenario.
        """
        wanted = self.sizes[size]
        changes = [
            *setting.overrides,
            *wanted.overrides,
            *wanted.by_setting.get(setting.name, ()),
            *arm.overrides,
            f"seed={seed}",
            "runtime.backend=inprocess",
            "runtime.threads=1",
            *([f"runtime.device={device}"] if device else []),
        ]
        if isinstance(self.base, str):
            return load(self.base, changes)
        return from_mapping(self.base, overrides=changes)

    def cells(self, size: str, seeds: tuple[int, ...] | None = None, device: str | None = None) -> list[Cell]:
        """Return every run of a size; all arms of a seed stand together, so that early results are paired."""
        chosen = self.sizes[size].seeds if seeds is None else seeds
        return [
            Cell(setting.name, arm.name, seed, self.scenario(size, setting, arm, seed, device))
            for seed in chosen
            for setting, arm in self.pairs(size)
        ]
