"""Small runs that tests of a comparison share."""

from __future__ import annotations

import pytest

from fedbal.comparison.compared import Compared
from fedbal.simulation import run
from tests.comparison.made import TUNING, compared
from tests.comparison.runs import LABELS, Ran, cell
from tests.scenarios import digits

BASE = ("rounds=4", "data.client_test=0.2", "evaluation.min_client_samples=5")


@pytest.fixture(scope="session")
def ran(tmp_path_factory) -> Ran:
    """Return runs of five methods on two seeds; one of them, of the second seed, diverged."""
    base = tmp_path_factory.mktemp("compared")
    cells = []
    for label, override in LABELS.items():
        for seed in (0, 1):
            changes = [f"strategy={override}", f"seed={seed}"]
            if (label, seed) == ("moon", 1):
                changes.append("client.optimizer.lr=1e30")
            directory = base / f"{label}-{seed}"
            run(digits(*BASE, *changes), directory)
            cells.append(cell(label, seed, directory))
    return Ran(base, tuple(cells))


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Compared:
    """Return a comparison of six methods on two data sets, with runs that diverged and failed, and with tuning."""
    return compared(tmp_path_factory.mktemp("small"), tuning=TUNING)
