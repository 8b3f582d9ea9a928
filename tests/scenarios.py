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


BLOBS: dict[str, Any] = {
    "name": "masks",
    "seed": 0,
    "rounds": 3,
    "data": {
        "dataset": "blobs",
        "sites": 4,
        "images": 16,
        "test_images": 12,
        "size": 16,
        "noisy_sites": [3],
        "validation": 0.2,
        "client_test": 0.25,
    },
    "model": {"name": "unet", "width": 4},
    "strategy": "fedce",
    "client": {
        "loss": {"name": "dice", "ce_weight": 1.0},
        "batch_size": 5,
        "optimizer": {"name": "sgd", "lr": 0.2},
    },
    "evaluation": {"min_client_samples": 2},
    "runtime": {"backend": "inprocess"},
}


def blobs(*overrides: str) -> Scenario:
    """Four sites with masks, one of which draws them wrong."""
    return from_mapping(BLOBS, overrides=list(overrides))


def digits(*overrides: str) -> Scenario:
    """Eight skewed clients on a long tail of digits."""
    return from_mapping(DIGITS, overrides=list(overrides))


def sha256(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
