"""Status ``diverged``: what makes a run diverged, and that it stays so after a resume."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from fedbal.journal import Journal, Totals
from fedbal.observer import Silent
from fedbal.results import RunDirectory, RunReader
from fedbal.simulation import resume, run
from tests.scenarios import digits

FINE = {"samples": 10, "loss": 1.0, "accuracy": 0.5, "balanced_accuracy": 0.5}


def row(number=1, test=FINE, replied=4):
    costs = {"seconds": 0.0, "simulated_seconds": 0.0, "bytes_up": 0, "bytes_down": 0}
    return {"round": number, "test": test, "replied": replied, **costs}


def diverged(row, arrays=None):
    totals = Totals()
    totals.add(row, arrays or {"w": np.zeros(2, np.float32)})
    return totals.diverged


def test_a_model_that_is_not_finite():
    assert not diverged(row())
    assert diverged(row(), {"w": np.array([0.0, np.nan], np.float32)})
    assert diverged(row(test=None), {"a": np.zeros(1), "b": np.array([np.inf])})


def test_a_test_loss_that_is_not_finite():
    assert diverged(row(test={**FINE, "loss": None}))
    nothing_to_test = {"samples": 0, "loss": None, "accuracy": None, "balanced_accuracy": None}
    assert not diverged(row(test=nothing_to_test))


@pytest.mark.parametrize(
    ("lost", "replied", "expected"), [(2, 3, True), (2, 4, False), (1, 1, True), (0, 0, False), (3, 4, True)]
)
def test_most_replies_dropped_as_not_finite(tmp_path, lost, replied, expected):
    reasons = ["non-finite values in array 'w'"] * lost + ["straggler"] * 5 + [None] * (replied - lost)
    clients = [{"round": 1, "reason": reason} for reason in reasons]
    directory = RunDirectory(tmp_path / "run")
    journal = Journal(directory, Silent(), Totals())
    journal.record(
        row(replied=replied),
        clients,
        {"w": np.zeros(1, np.float32)},
        strategy={},
        clients_state={},
        cohort=[0],
        batches=[1],
        started=0.0,
        notes=(),
    )
    directory.close()
    assert journal.totals.diverged is expected


RULE = '''
from strategies.fedavg import FedAvg


class Bursts(FedAvg):
    """Makes a finite model in round 2 whose logits overflow."""

    def __init__(self):
        super().__init__()
        self.rounds = 0

    def server_step(self, current, combined):
        self.rounds += 1
        return {name: value * 1e30 for name, value in combined.items()} if self.rounds == 2 else combined
'''


class StopAfter(Silent):
    def __init__(self, number):
        self.number = number

    def round_finished(self, row):
        if row["round"] == self.number:
            raise InterruptedError


def test_a_finite_model_whose_loss_overflows_diverged(tmp_path):
    (tmp_path / "bursts.py").write_text(RULE)
    result = run(digits("rounds=2", f"strategy={tmp_path}/bursts.py:Bursts"), tmp_path / "run")
    reader = RunReader(result.directory)
    tests = [row["test"] for row in reader.rounds()]
    assert [test["loss"] is None for test in tests] == [False, True]
    assert {row["status"] for row in reader.clients()} == {"ok"}
    model = load_file(result.directory / "model.safetensors")
    assert all(np.isfinite(value).all() for value in model.values())
    assert tests[1]["auroc"] is tests[1]["nll"] is tests[1]["ece"] is None
    assert tests[1]["accuracy"] is not None
    assert result.status == "diverged"


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_diverged_survives_a_resume(tmp_path, stop):
    scenario = digits("client.optimizer.lr=1e30", "rounds=4")
    with pytest.raises(InterruptedError):
        run(scenario, tmp_path / "run", observer=StopAfter(stop))
    reader = RunReader(tmp_path / "run")
    assert reader.status == "interrupted"
    assert resume(tmp_path / "run").status == "diverged"
    assert reader.status == "diverged"


def test_a_run_that_learns_did_not_diverge(tmp_path):
    assert run(digits("rounds=2"), tmp_path / "run").status == "finished"
