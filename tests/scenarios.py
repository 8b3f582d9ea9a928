"""Small scenarios for tests of whole runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fedbal.scenario import Scenario, from_mapping

DIGITS: dict[str, Any] = {
    "name": "small",
    "seed": 0,
    "rounds": 4,
    "data": {
        "dataset": "digits",
        "long_tail": {"profile": "exponential", "imbalance_factor": 10},
        "partition": {"name": "dirichlet", "clients": 8, "alpha": 0.3},
    },
    "model": {"name": "mlp", "hidden": [16]},
    "strategy": "fedavg",
    "client": {"local_epochs": 2, "batch_size": 10, "optimizer": {"name": "sgd", "lr": 0.1}},
    "cohort": {"fraction": 0.5},
    "evaluation": {"min_client_samples": 5},
    "runtime": {"backend": "inprocess"},
}


def digits(*overrides: str) -> Scenario:
    """Eight skewed clients on a long tail of digits."""
    return from_mapping(DIGITS, overrides=list(overrides))


def sha256(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
