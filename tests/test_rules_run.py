"""Every shipped rule, update and loss in whole runs: it learns, and a resumed run has the same bytes."""

from __future__ import annotations

import pytest

from clients import LOSSES, UPDATES
from fedbal.observer import Silent
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from strategies import STRATEGIES
from tests.scenarios import digits, sha256


class Stop(Exception):
    """Ends a run from an observer."""


class StopAfterTwo(Silent):
    def round_finished(self, row):
        if row["round"] == 2:
            raise Stop


GENTLE = {
    "fedadam": "{name: fedadam, lr: 0.02}",
    "fedyogi": "{name: fedyogi, lr: 0.02}",
    "fedadagrad": "{name: fedadagrad, lr: 0.2}",
    "fedavgm": "{name: fedavgm, beta: 0.5}",
    "feddyn": "{name: feddyn, alpha: 0.1}",
}


def final(path):
    return RunReader(path).summary()["final"]


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_rule_learns_and_resumes_with_the_same_bytes(tmp_path, name):
    changes = [
        f"strategy={GENTLE.get(name, name)}",
        "rounds=5",
        "evaluation.clients=0",
        "data.validation=0.2",
    ]
    scenario = digits(*changes)
    run(scenario, tmp_path / "whole")
    assert final(tmp_path / "whole")["accuracy"] > 0.2 or name == "local_only"
    with pytest.raises(Stop):
        run(scenario, tmp_path / "part", observer=StopAfterTwo())
    resume(tmp_path / "part")
    assert sha256(tmp_path / "part" / "model.safetensors") == sha256(tmp_path / "whole" / "model.safetensors")
    reasons = {row["reason"] for row in RunReader(tmp_path / "whole").clients()}
    assert reasons == {None}


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_loss_learns(tmp_path, loss):
    run(digits(f"client.loss={loss}", "rounds=8", "evaluation.clients=0"), tmp_path / "run")
    first, *_, last = RunReader(tmp_path / "run").rounds()
    assert last["test"]["loss"] < first["test"]["loss"]


@pytest.mark.parametrize("update", list(UPDATES))
def test_every_update_runs_under_a_rule_that_needs_it(tmp_path, update):
    needs = {"scaffold": "scaffold", "feddyn": "feddyn", "contribution": "fedce", "fedbr": "fedbr"}
    changes = [
        f"strategy={needs.get(update, 'fedavg')}",
        f"client.update={update}",
        "rounds=2",
        "data.validation=0.2",
    ]
    run(digits(*changes), tmp_path / "run")
    assert {row["status"] for row in RunReader(tmp_path / "run").clients()} == {"ok"}


def test_all_axes_compose(tmp_path):
    changes = [
        "strategy={name: fedavgm, beta: 0.5, weighting: {name: feddisco, a: 0.3}}",
        "client.update={name: proximal, mu: 0.1}",
        "client.loss=balanced_softmax",
    ]
    run(digits(*changes), tmp_path / "run")
    rows = RunReader(tmp_path / "run").clients()
    assert all(row["discrepancy"] is not None for row in rows)


def test_neutral_axes_give_the_others_alone(tmp_path):
    plain = "{name: feddisco, a: 0.3}"
    neutral = "{name: fedavgm, beta: 0.0, weighting: {name: feddisco, a: 0.3}}"
    run(digits(f"strategy={plain}"), tmp_path / "plain")
    changes = [
        f"strategy={neutral}",
        "client.update={name: proximal, mu: 0}",
        "client.loss={name: focal, gamma: 0}",
    ]
    run(digits(changes[0], changes[1]), tmp_path / "neutral")
    left, right = (sha256(tmp_path / name / "model.safetensors") for name in ("plain", "neutral"))
    assert left == right


def test_a_rule_without_its_update_says_what_is_missing(tmp_path):
    run(digits("strategy=fedce", "client.update=standard", "rounds=1"), tmp_path / "run")
    reasons = " ".join(row["reason"] for row in RunReader(tmp_path / "run").clients())
    assert "the rule asks for 'score'" in reasons


def test_contributions_need_validation_data(tmp_path):
    run(digits("strategy=fedce", "data.validation=0.0", "rounds=2", "cohort.fraction=1.0"), tmp_path / "run")
    assert any("data.validation" in (row["reason"] or "") for row in RunReader(tmp_path / "run").clients())
