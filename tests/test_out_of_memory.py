"""A run whose device is full goes on with smaller chunks, and says so wherever bytes are compared."""

from __future__ import annotations

import json

import pytest
import torch

from clients import memory
from clients.cohort import train_cohort
from fedbal.simulation import resume, run
from tests.scenarios import digits

AT_ONCE = ("runtime.vectorize=true", "runtime.chunk=4", "cohort.fraction=1.0")


def roomy(limit):
    def train(trainer, jobs, engine, parted=None):
        found = train_cohort(trainer, jobs, engine)
        if len(jobs) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return found

    return train


def test_the_run_goes_on_and_its_record_says_what_happened(tmp_path, monkeypatch):
    plain = run(digits(*AT_ONCE), tmp_path / "plain")
    engine = json.loads((plain.directory / "fingerprints.json").read_text())["engine"]
    assert "reduced" not in engine
    monkeypatch.setattr(memory, "train_cohort", roomy(2))
    found = run(digits(*AT_ONCE), tmp_path / "full")
    assert found.status == "finished"
    assert [note for note in found.summary["notes"] if "out of memory" in note and "bytes may differ" in note]
    assert len(found.summary["notes"]) == len(plain.summary["notes"]) + 1
    recorded = json.loads((found.directory / "fingerprints.json").read_text())["engine"]
    assert recorded == {**engine, "reduced": 2}
    assert found.summary["final"]["accuracy"] == pytest.approx(plain.summary["final"]["accuracy"], abs=0.05)


def test_a_resumed_run_remembers(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "train_cohort", roomy(2))
    path = tmp_path / "run"
    stop = Stop(after=2)
    with pytest.raises(KeyboardInterrupt):
        run(digits(*AT_ONCE), path, observer=stop)
    monkeypatch.setattr(memory, "train_cohort", train_cohort)
    resume(path)
    assert json.loads((path / "fingerprints.json").read_text())["engine"]["reduced"] == 2


class Stop:
    """Ends the process's work after a round."""

    def __init__(self, after):
        self.after = after

    def note(self, message):
        pass

    def started(self, *_):
        pass

    def finished(self, summary):
        pass

    def round_finished(self, row):
        if row["round"] == self.after:
            raise KeyboardInterrupt
