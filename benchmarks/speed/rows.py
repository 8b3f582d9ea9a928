"""Who does the work of a case: a command each, and what it needs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Row:
    """One way to run a case.

    Attributes
    ----------
    name : str
        Name in the table.
    command : tuple of str
        What follows ``python -m``.
    workers : int
        Processes or threads that compute.
    needs : tuple of str
        Modules, or ``key:runtime.NAME`` for a scenario key, or ``compiler``.
    choices : tuple of tuple of str
        Further arguments to choose from; the fastest is measured.
    warm_runs : int
        Whole runs before the first that counts (caches on disk).
    scale : float
        A total is multiplied by it: how many times what was measured is what was asked for.
    """

    name: str
    command: tuple[str, ...]
    workers: int = 1
    needs: tuple[str, ...] = ()
    choices: tuple[tuple[str, ...], ...] = ()
    warm_runs: int = 0
    scale: float = 1.0

    @property
    def takes_task(self) -> bool:
        """Whether it is one of the programs that read a task folder."""
        return self.command[0] != "benchmarks.speed.many"

    @property
    def reads_arrays(self) -> bool:
        """Whether it starts from plain arrays instead of a scenario."""
        return self.command[0] == "benchmarks.speed.peers"

    def missing(self) -> str | None:
        """Return why this row cannot be measured here, or None."""
        return next((reason for need in self.needs if (reason := _missing(need))), None)


def _missing(need: str) -> str | None:
    if need == "compiler":
        found = any(shutil.which(name) for name in ("g++", "c++", "clang++"))
        return None if found else "there is no C++ compiler"
    if need.startswith("key:runtime."):
        from fedbal.scenario_blocks import RuntimeBlock

        key = need.removeprefix("key:runtime.")
        return None if key in RuntimeBlock.model_fields else f"this fedbal has no key runtime.{key}"
    return None if find_spec(need.split(".")[0]) and find_spec(need) else f"{need} is not installed"


def own_row(
    name: str,
    *settings: str,
    workers: int = 1,
    backend: str = "",
    needs: Sequence[str] = (),
    warm_runs: int = 0,
) -> Row:
    """Return a row of fedbal's with these settings; several workers are threads unless ``backend`` says."""
    given = [f"runtime.backend={backend or 'inprocess'}", f"runtime.workers={workers}"]
    if backend == "ray":
        needs = [*needs, "ray"]
    sets = [part for setting in [*given, *settings] for part in ("--set", setting)]
    return Row(name, ("benchmarks.speed.own", *sets), workers, tuple(needs), warm_runs=warm_runs)


def peer_row(
    name: str,
    module: str,
    workers: int = 1,
    *,
    needs: Sequence[str] = (),
    choices: tuple[tuple[str, ...], ...] = (),
) -> Row:
    """Return a row of a program in ``benchmarks.speed.peers``."""
    command = ("benchmarks.speed.peers", module, "--workers", str(workers))
    return Row(name, command, workers, tuple(needs), choices)


_V, _C = "key:runtime.vectorize", ("key:runtime.vectorize", "key:runtime.compile", "compiler")
_VECTORIZE, _COMPILE = "runtime.vectorize=true", "runtime.compile=true"

AUTO = Row("fedbal", ("benchmarks.speed.own",), 2)
"""What a scenario without runtime keys gets."""
LOOP = own_row("fedbal loop", "runtime.vectorize=false")
VECTORIZED = own_row("fedbal vectorized", _VECTORIZE, needs=[_V])
COMPILED = own_row("fedbal compiled", _VECTORIZE, _COMPILE, needs=_C, warm_runs=1)
LOOP_2 = own_row("fedbal loop, 2 threads", "runtime.vectorize=false", workers=2)
VECTORIZED_2 = own_row("fedbal vectorized, 2 threads", _VECTORIZE, workers=2, needs=[_V])
VECTORIZED_RAY = own_row("fedbal vectorized, Ray", _VECTORIZE, workers=2, backend="ray", needs=[_V])
HAND = peer_row("hand loop", "hand")
HAND_2 = peer_row("hand loop, 2 processes", "hand", 2)
PFL = peer_row("pfl-research", "pfl", needs=["pfl"])
FLOWER = peer_row(
    "Flower's engine",
    "flower",
    2,
    needs=["ray"],
    choices=(("--num-cpus", "1"), ("--num-cpus", "0.5")),
)
SWEEP = Row("fedbal sweep", ("benchmarks.speed.many", "sweep"), workers=2, needs=("fedbal.sweep",))
ONE_BY_ONE = Row("fedbal run, one by one", ("benchmarks.speed.many", "one-by-one"), scale=5.0)
"""Six runs, one of each rule, stand for thirty."""
