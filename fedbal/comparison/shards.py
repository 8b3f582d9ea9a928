"""Joins the shards of a comparison: the same plan, different runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from fedbal.comparison.compare import prepare_again
from fedbal.comparison.plan import RUNS
from fedbal.comparison.store import PLAN, Kept, Store, is_done
from fedbal.errors import UsageError
from fedbal.results import LOCK, disk_errors


def join(directories: Sequence[Path], out: Path) -> int:
    """Join shards in one directory, as if one machine had run everything.

    Runs are linked where the disk allows it, else copied; the shards stay as they are.

    Parameters
    ----------
    directories : sequence of Path
        What ``fedbal compare --shard`` left.
    out : Path
        A new directory, or one to which shards were joined before.

    Returns
    -------
    int
        Runs of the plan that no shard has done.

    Raises
    ------
    UsageError
        A directory holds no shard, or they belong to different plans.
    """
    stores = [Store(path) for path in directories]
    kept = [_require(store) for store in stores]
    target = Store(out)
    if any(out.resolve() == path.resolve() for path in directories):
        raise UsageError(f"{out} is one of the shards; --out must name another directory.")
    before = target.kept()
    for store, one in zip(stores, kept, strict=True):
        _require_same(stores[0], kept[0], store, one)
    if before is not None:
        _require_same(stores[0], kept[0], target, before)
    with target.locked():
        target.set_aside(kept[0].declaration)
        failures = target.failures()
        for store in stores:
            failures |= store.failures()
            for run in sorted((store.path / RUNS).iterdir()) if (store.path / RUNS).is_dir() else []:
                _take(run, out / RUNS / run.name)
        target.write_json(PLAN, {**(stores[0].read_json(PLAN) or {}), "shard": ""})
        cells = {cell.address: cell for cell in prepare_again(out).plan.cells}
        target.write_failures(
            {key: why for key, why in failures.items() if key in cells and not is_done(cells[key])}
        )
    return sum(not is_done(cell) and cell.address not in failures for cell in cells.values())


def _require(store: Store) -> Kept:
    kept = store.kept()
    if kept is None:
        raise UsageError(f"{store.path} holds no shard of a comparison (no {PLAN} in it).")
    return kept


def _require_same(first: Store, one: Kept, second: Store, other: Kept) -> None:
    """Refuse two directories of different plans."""
    if one.identity != other.identity:
        raise UsageError(
            f"{first.path} and {second.path} belong to different comparisons; merge shards of one plan only."
        )
    if one.declaration.protocol.seeds != other.declaration.protocol.seeds:
        raise UsageError(f"{first.path} and {second.path} were planned with different seeds.")
    if one.engines.chosen != other.engines.chosen:
        raise UsageError(
            f"{first.path} and {second.path} train clients with different engines; set runtime.vectorize and "
            "runtime.chunk, and run the shards again."
        )
    if one.tuned != other.tuned:
        raise UsageError(
            f"{first.path} and {second.path} were tuned differently; run them with the same fedbal."
        )


def _take(run: Path, target: Path) -> None:
    """Bring a run directory over; a finished one that is there already stays."""
    if not run.is_dir() or run.name.startswith("."):
        return
    if target.exists():
        if (target / "summary.json").exists() or not (run / "summary.json").exists():
            return
        shutil.rmtree(target)
    with disk_errors(target):
        temporary = target.with_name(f".{target.name}.part")
        if temporary.exists():
            shutil.rmtree(temporary)
        finished = (run / "summary.json").exists()
        # What is still to be written to must not be shared with the shard.
        shutil.copytree(
            run,
            temporary,
            ignore=shutil.ignore_patterns(LOCK),
            copy_function=_link if finished else shutil.copy2,
        )
        temporary.rename(target)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
