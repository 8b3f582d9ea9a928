"""A comparison from its declaration to its verdict: plan, tune, run, read, analyse, write."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedbal.api import texts
from fedbal.comparison import outcomes, pairing, tidy
from fedbal.comparison.block import write_seeds
from fedbal.comparison.compared import Compared
from fedbal.comparison.declaration import Changes, Declaration
from fedbal.comparison.engines import Engines
from fedbal.comparison.execute import execute, processes
from fedbal.comparison.outlook import Outlook, outlook
from fedbal.comparison.plan import Cell, Plan, make_plan, share, with_reasons
from fedbal.comparison.records import Look, Protocol, RunRecord
from fedbal.comparison.same_rows import on_the_same_rows
from fedbal.comparison.statistics.analysis import analyse
from fedbal.comparison.statistics.results import Analysis
from fedbal.comparison.statistics.spending import record
from fedbal.comparison.store import Kept, Store, identity
from fedbal.comparison.tuning.tune import tune
from fedbal.comparison.watch import Watch
from fedbal.errors import RunError, UsageError

OUT = "runs"
TUNING = "tuning"
EXTRAS = ("scipy", "statsmodels", "matplotlib", "plotly", "jinja2")


@dataclass(frozen=True)
class Prepared:
    """A comparison that is ready to run.

    Attributes
    ----------
    plan : Plan
        All its runs.
    cells : tuple of Cell
        Those that run here: all, or those of a shard.
    store : Store
        Its directory.
    outlook : Outlook
        What can be said before.
    shard : str
        ``3/20``, or empty.
    tuning : mapping or None
        What tuning found, if it is there already.
    """

    plan: Plan
    cells: tuple[Cell, ...]
    store: Store
    outlook: Outlook
    shard: str = ""
    tuning: Mapping[str, Any] | None = None

    @property
    def resume(self) -> str:
        """The command that goes on."""
        return f"fedbal compare --resume {shlex.quote(str(self.store.path))}"


def require_extras() -> None:
    """Check, before hours of runs, that everything is there that their verdict needs.

    Raises
    ------
    UsageError
        Something is not installed.
    """
    missing = [name for name in EXTRAS if find_spec(name) is None]
    if missing:
        raise UsageError(f"comparing needs {', '.join(missing)}: pip install 'fedbal[report]'.")


def default_directory(name: str, shard: str = "") -> Path:
    """Return where a comparison lies unless somebody says otherwise."""
    suffix = f"-shard-{shard.replace('/', '-of-')}" if shard else ""
    return Path(OUT) / f"compare-{name}{suffix}"


def prepare(declaration: Declaration, out: Path | None = None, *, shard: str = "") -> Prepared:
    """Plan a comparison; nothing is written yet.

    Parameters
    ----------
    declaration : Declaration
        What is compared.
    out : Path, optional
        Its directory; default ``runs/compare-<name>``.
    shard : str
        Share of the runs, as ``3/20``; empty: all.

    Raises
    ------
    UsageError
        Something does not fit, or an extra is missing.
    """
    require_extras()
    store = Store(out or default_directory(declaration.protocol.name, shard))
    kept = store.kept()
    same = kept if kept is not None and _continues(kept, declaration) else None
    tuned, tuning = _tuned(same, declaration)
    engines = same.engines if same is not None and _has_engines(same.engines, declaration) else None
    plan = make_plan(declaration, store.path, tuned=tuned, engines=engines)
    return _prepared(plan, store, shard, tuning)


def prepare_again(directory: Path, changes: Mapping[str, Any] | None = None) -> Prepared:
    """Plan the comparison of a directory again.

    Parameters
    ----------
    directory : Path
        The comparison's directory.
    changes : mapping
        ``seeds``, ``workers`` and ``seconds`` that are to hold from now on; None values do not count.

    Raises
    ------
    UsageError
        It holds no comparison.
    """
    require_extras()
    store = Store(directory)
    kept = store.kept()
    if kept is None:
        raise UsageError(f"{directory} holds no comparison to go on with (no plan.json in it).")
    given = {key: value for key, value in (changes or {}).items() if value is not None}
    declared = kept.declaration
    if "seeds" in given:
        seeds = tuple(given.pop("seeds"))
        declared = replace(declared, protocol=replace(declared.protocol, seeds=seeds))
    declared = replace(declared, **given)
    tuned, tuning = _tuned(kept, declared)
    plan = make_plan(declared, store.path, tuned=tuned, engines=kept.engines)
    return _prepared(plan, store, kept.shard, tuning)


def run(prepared: Prepared, *, cluster: str | None = None, watch: Watch | None = None) -> tuple[int, ...]:
    """Tune if that is declared, and run what is not there yet; no verdict.

    Parameters
    ----------
    prepared : Prepared
        What is run.
    cluster : str, optional
        Address of a Ray cluster, or auto.
    watch : Watch, optional
        Shows progress.

    Returns
    -------
    tuple of int
        Seeds that a time limit left out.

    Raises
    ------
    Interrupted
        On Ctrl-C or SIGTERM; the same call goes on.
    """
    declared, store = prepared.plan.declaration, prepared.store
    where = cluster or declared.base.scenario.runtime.address
    with store.locked():
        store.set_aside(declared)
        store.keep(prepared.plan, prepared.shard, prepared.tuning)
        if declared.tune and prepared.tuning is None:
            prepared = _tune(prepared, where, watch or Watch())
            store.keep(prepared.plan, prepared.shard, prepared.tuning)
        return execute(
            prepared.cells,
            store,
            workers=declared.workers
            if where
            else processes(declared.base.scenario.runtime, declared.workers),
            seconds=declared.seconds,
            cluster=where,
            watch=watch,
            resume=prepared.resume,
        )


def judge(directory: Path, *, left: Sequence[int] = (), write: bool = True) -> Compared:
    """Read the runs of a directory, analyse them and write everything that is said about them.

    Parameters
    ----------
    directory : Path
        The comparison's directory.
    left : sequence of int
        Seeds that a time limit left out.
    write : bool
        Whether ``comparison.json``, tables, figures and the report are written.

    Raises
    ------
    UsageError
        Runs of one seed were made on different data.
    RunError
        Not one pair of runs has a result.
    """
    prepared = prepare_again(directory)
    store, plan = prepared.store, prepared.plan
    if prepared.shard:
        raise UsageError(
            f"{directory} holds shard {prepared.shard} of a comparison; join all shards with fedbal merge."
        )
    before = store.verdict()
    records = outcomes.read(plan.protocol, with_reasons(plan.cells, store.failures()))
    found = pairing.check(records, plan.protocol.baseline)
    looks = before.protocol.looks if before is not None else ()
    planned = before.protocol.planned_seeds if before is not None else plan.protocol.planned_seeds
    protocol = replace(plan.protocol, planned_seeds=planned)
    _require_pairs(protocol, records)
    analysis = analyse(
        primary_values(protocol, records),
        methods=[method.label for method in protocol.methods if not method.reference],
        baseline=protocol.baseline,
        references=[method.label for method in protocol.methods if method.reference],
        higher=protocol.primary.higher,
        margin=protocol.margin,
        alpha=protocol.alpha,
        planned_seeds=planned,
        looks=looks,
        independent=_independent(plan.declaration),
    )
    analysis = on_the_same_rows(analysis, protocol, records)
    compared = Compared(
        protocol=replace(protocol, looks=_looks(looks, analysis)),
        records=records,
        pairing=found,
        analysis=analysis,
        scenario=plan.declaration.base.scenario.resolved(),
        directory=store.path,
        source=plan.declaration.base.source,
        command=command(plan.declaration),
        tuning=prepared.tuning,
        notes=(*plan.declaration.notes, *plan.engines.notes, *_limit_note(left, prepared)),
    )
    if write:
        compared.write()
        tidy.write(compared.protocol, compared.records, store.path)
        write_views(compared)
    return compared


def write_views(compared: Compared) -> Path:
    """Write tables, figures and the report of a comparison; return the report."""
    from fedbal.comparison import figures, report, tables
    from fedbal.comparison.views import views

    seen = views(compared)
    tables.write(compared, compared.directory)
    figures.write(compared, compared.directory, seen)
    return report.write(compared, compared.directory, seen)


def primary_values(
    protocol: Protocol, records: Sequence[RunRecord]
) -> dict[str, dict[str, dict[int, float]]]:
    """Return the primary outcome by data set, method and seed; of rows of their own place from there."""
    places = {method.label: method.tests or protocol.primary.name for method in protocol.methods}
    found: dict[str, dict[str, dict[int, float]]] = {dataset: {} for dataset in protocol.datasets}
    for one in records:
        value = one.values.get(places[one.method])
        if one.status in ("finished", "diverged") and value is not None:
            found[one.dataset].setdefault(one.method, {})[one.seed] = value
    return found


def command(declared: Declaration) -> str:
    """Return a command that makes the comparison again."""
    protocol = declared.protocol
    parts = ["fedbal", "compare", declared.base.source]
    for change in declared.base.changes:
        parts += ["--set", change]
    for key, values in declared.vary.items():
        parts += ["--vary", f"{key}={','.join(texts({'': value})[0][1:] for value in values)}"]
    own = declared.base.scenario.strategy.name
    sides = [_named(method.overrides, method.label, own) for method in declared.rivals]
    parts += ["--strategies", ",".join(sides)]
    parts += ["--seeds", write_seeds(protocol.seeds), "--baseline", protocol.baseline]
    parts += ["--primary", protocol.primary.name, "--margin", f"{protocol.margin:g}"]
    if protocol.budget is not None:
        parts += ["--budget", f"{protocol.budget[0]}={protocol.budget[1]:g}"]
    if declared.tune:
        parts += ["--tune", str(declared.tune)]
    if not any(method.reference for method in protocol.methods):
        parts.append("--no-references")
    return shlex.join(parts)


def _named(overrides: Changes, label: str, own: str) -> str:
    """Write a side as ``--strategies`` takes it."""
    if not overrides:
        return label if label == own else f"{{label: '{label}'}}"
    key, _, value = overrides[0].partition("=")
    if len(overrides) == 1 and key == "strategy" and "{" not in value:
        return value if label in value else f"{{label: '{label}', strategy: {value}}}"
    inside = ", ".join(f"{key}: {value}" for key, _, value in (one.partition("=") for one in overrides))
    return f"{{label: '{label}', set: {{{inside}}}}}"


def _prepared(plan: Plan, store: Store, shard: str, tuning: Mapping[str, Any] | None) -> Prepared:
    cells = share(plan.cells, shard) if shard else plan.cells
    kept = store.kept()
    same = kept is not None and kept.identity == identity(plan.declaration)
    seen = outlook(plan, cells, before=store.verdict() if same else None)
    return Prepared(plan, cells, store, seen, shard, tuning)


def _continues(kept: Kept, declared: Declaration) -> bool:
    """Tell whether a directory's comparison is the one that is declared, whatever its seeds."""
    return kept.identity == identity(declared) and (
        kept.declaration.base.scenario.runtime == declared.base.scenario.runtime
    )


def _has_engines(engines: Engines, declared: Declaration) -> bool:
    labels = {method.label for method in declared.protocol.methods}
    return all(labels <= set(engines.chosen.get(dataset, {})) for dataset in declared.protocol.datasets)


def _tuned(
    kept: Kept | None, declared: Declaration
) -> tuple[Mapping[str, Changes], Mapping[str, Any] | None]:
    if kept is None or not declared.tune or kept.declaration.tune != declared.tune:
        return {}, None
    return kept.tuned, kept.tuning


def _tune(prepared: Prepared, cluster: str | None, watch: Watch) -> Prepared:
    """Tune every method on the first data set, and plan again with what was chosen."""
    declared, protocol = prepared.plan.declaration, prepared.plan.protocol
    watch.say(f"tuning: {declared.tune} trials of each of {len(protocol.methods)} methods")
    dataset = protocol.datasets[0]
    scenarios = {method.label: declared.scenario(dataset, method) for method in protocol.methods}
    found = tune(
        {
            label: prepared.plan.engines.pin(dataset, label, declared.seeded(one, protocol.seeds[0]))
            for label, one in scenarios.items()
        },
        trials=declared.tune,
        out=prepared.store.path / TUNING,
        metric=protocol.primary.name.rpartition(".")[2],
        personal=[method.label for method in protocol.methods if method.tests],
        workers=declared.workers if cluster else processes(declared.base.scenario.runtime, declared.workers),
        cluster=cluster,
        watch=watch,
        resume=prepared.resume,
    )
    for text in (*found.notes, *found.warnings):
        watch.say(f"note: {text}")
    tuned = {label: found.overrides(label) for label in scenarios}
    plan = make_plan(declared, prepared.store.path, tuned=tuned, engines=prepared.plan.engines)
    return _prepared(plan, prepared.store, prepared.shard, found.to_dict())


def _looks(looks: Sequence[Look], analysis: Analysis) -> tuple[Look, ...]:
    """Return all looks, with this one if it saw more seeds than any before."""
    if looks and analysis.seeds <= max(look.seeds for look in looks):
        return tuple(looks)
    return (*looks, record(analysis, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())))


def _independent(declared: Declaration) -> bool:
    """Tell whether data sets are different data, not variations of one."""
    changes = [{one.partition("=")[0] for one in changes} for changes in declared.variations.values()]
    return len(changes) > 1 and all({"data", "data.dataset", "data.path"} & keys for keys in changes)


def _require_pairs(protocol: Protocol, records: Sequence[RunRecord]) -> None:
    if any(one.status in ("finished", "diverged") for one in records):
        return
    reasons = list(dict.fromkeys(one.reason for one in records if one.reason))
    if reasons:
        raise RunError(f"every run failed: {'; '.join(reasons[:3])}")
    raise RunError("no run has ended yet, so nothing can be compared.")


def _limit_note(left: Sequence[int], prepared: Prepared) -> list[str]:
    if not left:
        return []
    return [
        f"The time limit ended the comparison before seeds {write_seeds(list(left))}; go on with: {prepared.resume}"
    ]
