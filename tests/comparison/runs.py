"""Runs of a comparison: real small ones, and made-up ones whose numbers can be worked out by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbal.comparison.records import Method, Protocol
from tests.scenarios import digits

PERSONAL = "personal.pooled_balanced_accuracy"
LABELS = {
    "fedavg": "fedavg",
    "moon": "{name: moon, projection: 8}",
    "fedavg_finetuned": "fedavg_finetuned",
    "local_only": "local_only",
    "centralised": "centralised",
}


@dataclass(frozen=True)
class Cell:
    """A planned run."""

    dataset: str
    method: str
    seed: int
    directory: Path
    reason: str | None = None


@dataclass(frozen=True)
class Ran:
    """Runs that are there."""

    base: Path
    cells: tuple[Cell, ...]


def cell(method: str, seed: int, directory: Path, reason: str | None = None) -> Cell:
    return Cell("", method, seed, directory, reason)


def protocol(*labels: str, **changes: Any) -> Protocol:
    """Declare methods; those of personal models are read where their result stands."""
    methods = tuple(
        Method(
            label,
            reference=label in ("local_only", "centralised", "fedavg_finetuned"),
            tests=PERSONAL if label in ("local_only", "fedavg_finetuned") else "",
        )
        for label in labels or LABELS
    )
    return Protocol(**{"name": "small", "methods": methods, "seeds": (0, 1), **changes})


def made_up(
    directory: Path,
    values: list[float | None],
    *,
    status: str = "finished",
    strategy: str = "fedavg",
    up: int = 60,
    down: int = 40,
    seconds: float = 2.0,
    partition: str = "p",
    personal: list[float | None] | None = None,
    fingerprints: dict[str, Any] | None = None,
    changes: tuple[str, ...] = (),
) -> Path:
    """Write a run directory with a balanced accuracy a round, None where the round is not evaluated.

    ``personal`` has the clients' own balanced accuracy after rounds 0, 1, 2, ..., one more than there are rounds.
    """
    directory.mkdir(parents=True)
    scenario = digits(f"strategy={strategy}", f"rounds={len(values)}", *changes)
    (directory / "scenario.yaml").write_text(scenario.to_yaml())
    task = {"classes": ["a", "b", "c", "d"], "target_shape": [], "groups": {"counts": [8, 4, 2, 1]}}
    prints = {
        "partition": partition,
        "initial": "i",
        "cohorts": "c",
        "batches": "b",
        "task": task,
        "engine": {"kind": "loop"},
        "packages": {"torch": "2"},
        "hardware": {"processor": "cpu"},
        "code": "x",
        **(fingerprints or {}),
    }
    (directory / "fingerprints.json").write_text(json.dumps(prints))
    rows = []
    for number, value in enumerate(values, 1):
        test = None
        if value is not None:
            test = {
                "balanced_accuracy": value,
                "nll": None if value < 0 else 1.0 - value,
                "ece": value / 2,
                "accuracy": value,
                "few": None,
                "per_class_recall": [value, value, value, None],
            }
        row = {
            "round": number,
            "test": test,
            "train": {"loss": 1.0},
            "fairness": None,
            "personal": None,
            "seconds": 0.5,
            "simulated_seconds": 1.0,
            "client_seconds": seconds,
            "bytes_up": up,
            "bytes_down": down,
            "sampled": 5,
            "replied": 4,
            "dropped": 2,
        }
        if personal is not None and personal[number - 1] is not None:
            row["personal"] = {"model_round": number - 1, "pooled_balanced_accuracy": personal[number - 1]}
        if personal is not None and number == len(values):
            final = {"model_round": number, "pooled_balanced_accuracy": personal[number]}
            row["personal"] = {**(row["personal"] or {}), "final": final}
        rows.append(json.dumps(row))
    (directory / "rounds.jsonl").write_text("\n".join(rows) + "\n")
    if status in ("finished", "diverged"):
        (directory / "summary.json").write_text(json.dumps({"status": status}))
    return directory
