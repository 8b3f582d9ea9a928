"""Equal-budget tuning from beginning to end: same budget, validation rows, nothing run twice."""

from __future__ import annotations

import json
import shutil

import pytest

from fedbal.comparison.tuning import Tuning
from fedbal.comparison.tuning import tune as module
from fedbal.comparison.tuning.score import validation_numbers
from fedbal.comparison.tuning.tune import tune
from fedbal.comparison.watch import Watch
from fedbal.errors import UsageError
from fedbal.observer import Silent
from fedbal.results import RunReader
from fedbal.scenario import from_mapping
from fedbal.sweep_worker import Federations
from tests.scenarios import digits

FAILING = """
from strategies.fedavg import FedAvg

class Failing(FedAvg):
    def weights(self, replies):
        raise RuntimeError("no weights today")
"""
SMALL = ("rounds=2", "data.validation=0.2", "client.local_epochs=1")


class Counting(Watch):
    def __init__(self):
        self.begun, self.rows, self.ended = [], [], []

    def of(self, cell):
        self.begun.append(cell.where)
        observer = Silent()
        observer.round_finished = self.rows.append
        return observer

    def run_ended(self, cell, result):
        self.ended.append(result.status)


@pytest.fixture(scope="module")
def methods(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "failing.py"
    path.write_text(FAILING)
    return {
        "fedavg": digits(*SMALL),
        "prox": digits(*SMALL, "strategy=fedprox"),
        "alone": digits(*SMALL, "strategy=local_only"),
        "steep": digits(*SMALL, "client.optimizer.lr=1.0e+30"),
        "failing": digits(*SMALL, f"strategy={path}:Failing"),
    }


@pytest.fixture(scope="module")
def found(methods, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuning")
    return out, tune(methods, trials=3, out=out, personal=["alone"], workers=1)


def test_every_method_gets_the_same_budget(found):
    _, tuning = found
    whole = [tuned for label, tuned in tuning.methods.items() if label != "failing"]
    assert {tuned.spent.trials for tuned in tuning.methods.values()} == {3}
    assert {tuned.spent.rounds for tuned in whole} == {6}
    assert len({tuned.spent.bytes for tuned in whole}) == 1
    assert len({tuned.spent.client_seconds for tuned in whole}) == 1
    assert whole[0].spent.bytes > 0
    assert whole[0].spent.client_seconds > 0


def test_the_best_by_validation_rows_is_chosen(found):
    out, tuning = found
    for label in ("fedavg", "prox", "alone"):
        tuned = tuning.methods[label]
        kind = "personal" if label == "alone" else "received"
        for trial in tuned.trials:
            numbers = validation_numbers(out / trial.directory, Federations())
            assert trial.score == numbers[kind]["balanced_accuracy"]
            assert tuning.samples == numbers["samples"]
        assert tuned.score == max(trial.score for trial in tuned.trials) == tuned.best_of[-1]
        assert tuned.overrides == tuned.trials[tuned.chosen].overrides == tuning.overrides(label)
        assert [one.value for one in tuned.settings] == list(tuned.trials[tuned.chosen].values.values())
    assert tuning.methods["prox"].trials[0].overrides == ()
    assert tuning.overrides("unknown") == ()


def test_trials_share_seeds_and_data_and_look_at_no_client_test_rows(found, methods):
    out, tuning = found
    partitions = set()
    for tuned in tuning.methods.values():
        for trial in tuned.trials:
            reader = RunReader(out / trial.directory)
            assert reader.scenario["seed"] == {"partition": 0, "init": 10_000, "training": 10_000}
            assert all(row["fairness"] is None and row["personal"] is None for row in reader.rounds())
            partitions.add(reader.fingerprints["partition"])
    assert len(partitions) == 1


def test_a_trial_that_diverges_counts_as_guessing_and_is_not_chosen(found):
    tuned = found[1].methods["steep"]
    diverged = [trial for trial in tuned.trials if trial.status == "diverged"]
    assert tuned.trials[0] in diverged
    finished = [trial.score for trial in tuned.trials if trial.status == "finished"]
    assert {trial.score for trial in diverged} == {min([0.1, *finished])}
    assert "steep: " in tuned.warnings[0]
    assert "diverged" in tuned.warnings[0]


def test_a_method_that_fails_stays_as_declared_and_says_why(found):
    tuned = found[1].methods["failing"]
    assert tuned.overrides == ()
    assert {trial.status for trial in tuned.trials} == {"failed"}
    assert "no weights today" in tuned.warnings[0]
    assert tuned.warnings[1] == "failing: no trial has a score, so it stays as declared."
    assert "no weights today" in tuned.trials[0].reason


def test_the_result_is_written_and_read_back(found):
    out, tuning = found
    content = json.loads((out / "tuning.json").read_text())
    assert Tuning.from_dict(content) == tuning
    assert content["methods"]["prox"]["settings"][0]["key"] == "strategy.mu"


def test_a_tuning_goes_on_where_it_was_stopped_and_more_trials_are_added(found, methods):
    out, tuning = found
    lost = out / tuning.methods["fedavg"].trials[1].directory
    shutil.rmtree(lost)
    counting = Counting()
    # What a scenario is called decides nothing.
    chosen = {
        label: from_mapping({**methods[label].resolved(), "name": "other"}) for label in ("fedavg", "prox")
    }
    again = tune(chosen, trials=4, out=out, workers=1, watch=counting)
    assert counting.begun == [
        "fedavg, trial 1, seed 10000",
        "fedavg, trial 3, seed 10000",
        "prox, trial 3, seed 10000",
    ]
    assert counting.ended == ["finished"] * 3
    assert [row["round"] for row in counting.rows] == [1, 2] * 3
    assert all(row["test"] is None for row in counting.rows)  # Test scores of trials are not even shown.
    for label in chosen:
        assert again.methods[label].trials[:3] == tuning.methods[label].trials


def test_edges_failures_and_substitutes_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "execute", lambda cells, store, **_: None)
    # A rate that is itself the end of its grid.
    scenario = digits("client.optimizer.lr=2.0", "data.validation=0", "strategy=fedprox")
    tuning = tune({"prox": scenario}, trials=2, out=tmp_path, metric="few", rounds_factor=0.5)
    warnings = tuning.methods["prox"].warnings
    assert any("client.optimizer.lr = 2.0 lies at the high edge" in warning for warning in warnings)
    assert tuning.metric == "balanced_accuracy"
    assert any(note.startswith("few is not measured") for note in tuning.notes)
    assert any("data.validation is 0" in note for note in tuning.notes)
    assert "trials ran 0.5 of the comparison's rounds." in tuning.notes
    assert tuning.methods["prox"].best_of == (None, None)
    assert tuning.methods["prox"].trials[0].reason == "it came to no end"


def ended(cells, store, **_):
    for cell in cells:
        cell.directory.mkdir(parents=True)
        (cell.directory / "scenario.yaml").write_text(cell.scenario.to_yaml())
        (cell.directory / "summary.json").write_text('{"status": "finished"}')


def test_less_is_better_of_a_loss(tmp_path, monkeypatch):
    losses = iter([0.9, 0.2, 0.5])

    def measured(path, federations):
        return {"samples": 10, "received": {"loss": next(losses)}, "personal": None}

    monkeypatch.setattr(module, "execute", ended)
    monkeypatch.setattr(module, "validation_numbers", measured)
    tuning = tune({"fedavg": digits()}, trials=3, out=tmp_path, metric="nll")
    assert tuning.notes[0].startswith("all clients together have 10 validation rows")
    assert (tuning.metric, tuning.higher, tuning.methods["fedavg"].chosen) == ("loss", False, 1)
    assert tuning.methods["fedavg"].best_of[-1] == 0.2


def test_own_models_that_do_not_exist_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "execute", ended)
    numbers = {"samples": 1, "received": {"balanced_accuracy": 0.5}, "personal": None}
    monkeypatch.setattr(module, "validation_numbers", lambda path, federations: numbers)
    with pytest.raises(UsageError, match="fedavg: its clients keep no models of their own"):
        tune({"fedavg": digits()}, trials=1, out=tmp_path, personal=["fedavg"])


def test_nothing_to_tune_is_refused(tmp_path):
    with pytest.raises(UsageError, match="nothing to tune"):
        tune({}, trials=3, out=tmp_path)
