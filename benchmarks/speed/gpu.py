"""The cases for one GPU: ``python -m benchmarks.speed.gpu``, or ``--tiny`` to see on a CPU that all of it runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed.cases import Case
from benchmarks.speed.cli import end_on_sigterm, run_cases
from benchmarks.speed.report import Numbers, Target, Value, ratio
from benchmarks.speed.rows import Row, own_row, peer_row
from benchmarks.speed.runner import Options
from benchmarks.speed.tables import text

SHARES = (1, 2, 4, 8)
VECTORIZE = "key:runtime.vectorize"
COHORT = own_row("fedbal cohort", "runtime.vectorize=true", needs=[VECTORIZE])
CEILING = peer_row("centralised", "centralised")
PFL = peer_row("pfl-research", "pfl", needs=["pfl"])


def fedbal_rows(shares: Sequence[int], gpu: bool) -> tuple[Row, ...]:
    """Return fedbal's rows: loop, cohort, and Ray with several workers a card."""
    loop = own_row("fedbal loop", "runtime.vectorize=false")
    ray = [
        own_row(
            f"fedbal, Ray, {workers} a card",
            *([f"runtime.num_gpus={1 / workers:g}"] if gpu else []),
            workers=workers,
            backend="ray",
        )
        for workers in shares
    ]
    return (loop, COHORT, *ray)


def flower_row(shares: Sequence[int], gpu: bool) -> Row:
    """Return Flower's engine with every share of the card to choose from."""
    choices = [("--num-gpus", f"{1 / workers:g}") for workers in shares] if gpu else [("--num-cpus", "1")]
    return peer_row("Flower's engine", "flower", max(shares), needs=["ray"], choices=tuple(choices))


def cases(shares: Sequence[int], gpu: bool) -> list[Case]:
    """Return both cases with the rows of this machine."""
    rows = (*fedbal_rows(shares, gpu), peer_row("hand loop", "hand"), PFL, flower_row(shares, gpu), CEILING)
    iid = {"name": "iid", "clients": 1000}
    skewed = {"name": "dirichlet", "clients": 100, "alpha": 0.5}
    common = {"data": "images", "shape": (3, 32, 32), "rows": rows, "warm": 3}
    return [
        Case(
            "gpu-cifar",
            "pfl's CIFAR-10 schedule: 1 000 users x 50 images, 50 a round, 5 steps, batch 10, small CNN",
            _scenario("gpu-cifar", iid, 50, "cnn", 10, 0.1),
            rounds=20,
            samples=50,
            **common,  # type: ignore[arg-type]
        ),
        Case(
            "gpu-resnet",
            "ResNet-18 with GroupNorm, 100 clients, Dirichlet 0.5, 10 a round, batch 64, 1 epoch",
            _scenario("gpu-resnet", skewed, 10, {"name": "resnet18_gn"}, 64, 0.05),
            rounds=8,
            samples=500,
            tolerance=0.1,
            **common,  # type: ignore[arg-type]
        ),
    ]


def _scenario(
    name: str, partition: dict[str, Any], cohort: int, model: Any, batch: int, rate: float
) -> dict[str, Any]:
    return {
        "name": name,
        "seed": 0,
        "data": {"partition": partition, "validation": 0.0, "client_test": 0.0},
        "model": model,
        "strategy": "fedavg",
        "client": {"local_epochs": 1, "batch_size": batch, "optimizer": {"name": "sgd", "lr": rate}},
        "cohort": {"size": cohort},
        "evaluation": {"every": 1_000_000, "clients": 0},
        "runtime": {"threads": 1},
    }


def targets() -> list[Target]:
    """Return what the best of fedbal's rows should reach in both cases."""
    own = fedbal_rows(SHARES, True)
    found = []
    for case in ("gpu-cifar", "gpu-resnet"):
        flower = flower_row(SHARES, True)
        found += [
            Target(case, "times Flower's engine", 10, True, _times(case, flower, own)),
            Target(case, "times pfl", 1, True, _times(case, PFL, own)),
            Target(case, "share of centralised training", 0.5, True, _times(case, CEILING, own)),
        ]
    return found


def _times(case: str, other: Row, own: Sequence[Row]) -> Callable[[Numbers], Value]:
    return lambda numbers: ratio(numbers.line(case, other).value, numbers.best(case, *own))


def tiny(case: Case) -> Case:
    """Return a case that a CPU finishes in seconds."""
    scenario = {**case.scenario, "cohort": {"size": 3}}
    partition = {**scenario["data"]["partition"], "clients": 6}
    scenario["data"] = {**scenario["data"], "partition": partition}
    if case.name == "gpu-resnet":
        scenario["model"] = {"name": "resnet18_gn", "width": 2}
    changed = {"samples": 40, "rounds": 3, "warm": 1, "tolerance": 1.0}
    return replace(case, title=f"{case.title}; here tiny", scenario=scenario, **changed)  # type: ignore[arg-type]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m benchmarks.speed.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small sizes, one repeat, on the CPU if need be")
    parser.add_argument("--case", action="append", choices=("gpu-cifar", "gpu-resnet"))
    parser.add_argument("--row", action="append", default=[], help="only rows of these names")
    parser.add_argument("--repeats", type=int, help="default 5; 1 with --tiny")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--cache", type=Path, default=Path("runs/speed-cache"))
    given = parser.parse_args(arguments)
    import torch

    gpu = torch.cuda.is_available()
    if not gpu and not given.tiny:
        print("error: there is no GPU; --tiny shows on a CPU that everything runs.", file=sys.stderr)
        raise SystemExit(2)
    shares = (1, 2) if given.tiny else SHARES
    chosen = [case for case in cases(shares, gpu) if not given.case or case.name in given.case]
    repeats = given.repeats or (1 if given.tiny else 5)
    options = Options(repeats, given.cache.resolve(), tuple(given.row), "cuda" if gpu else "cpu")
    end_on_sigterm()
    content = run_cases([tiny(case) for case in chosen] if given.tiny else chosen, options)
    content["quick"] = given.tiny
    print(text(content, targets=targets()), end="")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
