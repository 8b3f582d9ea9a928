"""A small comparison of real runs for tests of tables, figures and the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbal.comparison import outcomes, pairing
from fedbal.comparison.compared import Compared
from fedbal.comparison.records import Method, Protocol
from fedbal.comparison.statistics.analysis import analyse
from fedbal.comparison.tuning import Setting, Spent, Trial, Tuned, Tuning
from fedbal.simulation import run
from tests.scenarios import digits

HOSTILE = '<script>alert("x")</script> & $\\alpha_1$ %{y} | *'
"""A label that must stay text wherever it is shown."""
PERSONAL = "personal.pooled_balanced_accuracy"
METHODS = (
    Method("fedavg"),
    Method(HOSTILE, ("strategy=feddisco",)),
    Method("fedprox", ("strategy={name: fedprox, mu: 0.1}",)),
    Method("wild", ("client.optimizer.lr=1e30",)),
    Method("local_only", ("strategy=local_only",), reference=True, tests=PERSONAL),
    Method("centralised", ("strategy=centralised",), reference=True),
)
SMALL = ("rounds=2", "data.client_test=0.2", "data.partition.clients=6", "evaluation.min_client_samples=3")
DATASETS = ("data.partition.alpha=0.1", "data.partition.alpha=5")


def tuned(label: str, best_of: Sequence[float], warnings: Sequence[str] = ()) -> Tuned:
    """Return what tuning of the learning rate alone found."""
    trials = tuple(
        Trial(at, {"client.optimizer.lr": 0.1}, (), "finished", score, 0.0, f"{label}-{at}")
        for at, score in enumerate(best_of)
    )
    edge = "high" if warnings else None
    knob = Setting("client.optimizer.lr", "0.001 to 1, log", 0.1, 0.95 if warnings else 0.1, edge)
    return Tuned(
        label, (), 0, (knob,), trials, tuple(best_of), Spent(len(trials), 6, 12.5, 3_000_000), tuple(warnings)
    )


TUNING = Tuning(
    metric="balanced_accuracy",
    higher=True,
    trials=3,
    rounds=2,
    sampler="a scrambled Sobol sequence",
    training_seed=10_000,
    partition_seed=0,
    samples=60,
    methods={
        "fedavg": tuned("fedavg", (0.2, 0.25, 0.3)),
        "fedprox": tuned("fedprox", (0.1, 0.3, 0.4), ("fedprox: lr lies at the edge of its space.",)),
    },
).to_dict()


@dataclass(frozen=True)
class Cell:
    """A run of the comparison."""

    dataset: str
    method: str
    seed: int
    directory: Path
    reason: str | None = None


def compared(
    folder: Path,
    methods: Sequence[Method] = METHODS,
    datasets: Sequence[str] = DATASETS,
    seeds: Sequence[int] = (0, 1),
    failed: Sequence[tuple[str, int]] = (("fedprox", 1),),
    tuning: Mapping[str, Any] | None = None,
) -> Compared:
    """Run a comparison of digits; ``failed`` names methods and seeds that are not run."""
    base = digits(*SMALL)
    protocol = Protocol(
        "small", tuple(methods), datasets=tuple(datasets), seeds=tuple(seeds), planned_seeds=len(seeds)
    )
    cells = []
    for dataset in datasets:
        for at, method in enumerate(methods):
            for seed in seeds:
                path = folder / "runs" / f"{dataset}-{at}-{seed}"
                reason = "its process died 3 times" if (method.label, seed) in failed else None
                cells.append(Cell(dataset, method.label, seed, path, reason))
                if reason is None:
                    changes = [dataset] if dataset else []
                    run(digits(*SMALL, f"seed={seed}", *changes, *method.overrides), path)
    records = outcomes.read(protocol, cells)
    values = outcomes.values_of(records, protocol.primary.name)
    for dataset, found in outcomes.values_of(records, PERSONAL).items():
        own = {method.label for method in methods if method.tests}
        values[dataset].update({label: seen for label, seen in found.items() if label in own})
    analysis = analyse(
        values,
        methods=[method.label for method in methods if not method.reference],
        baseline="fedavg",
        references=[method.label for method in methods if method.reference],
        planned_seeds=len(seeds),
    )
    return Compared(
        protocol=protocol,
        records=records,
        pairing=pairing.check(records),
        analysis=analysis,
        scenario=base.resolved(),
        directory=folder,
        source="small",
        command=f"fedbal compare small --strategies {shlex.quote('fedavg,fedprox')} --seeds 0-1",
        tuning=tuning,
        notes=("Stopped after 2 of 2 seeds.",),
    )
