"""Every shipped rule, update and loss in whole runs: it learns, and a resumed run has the same bytes."""

from __future__ import annotations

import pytest
from flwr.app import RecordDict

from clients import LOSSES, UPDATES
from fedbal import checkpoint
from fedbal.grid.state import ClientStates
from fedbal.grid.work import FIRST_NODE, client_of
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


@pytest.mark.parametrize(
    "loss", [name for name in LOSSES if "classification" in LOSSES.params_model(name)().for_tasks()]
)
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


DISCO = "{name: feddisco, a: 0.3}"
COMPOSED = {
    "server": f"strategy={{name: fedavgm, beta: 0.5, weighting: {DISCO}}}",
    "update": "client.update={name: proximal, mu: 0.1}",
    "loss": "client.loss=balanced_softmax",
}
NEUTRAL = [
    (
        "server",
        f"strategy={{name: fedavgm, beta: 0.0, weighting: {DISCO}}}",
        "strategy={name: feddisco, a: 0.3}",
    ),
    (
        "server",
        "strategy={name: fedavgm, beta: 0.5, weighting: {name: feddisco, a: 0, b: 0}}",
        "strategy={name: fedavgm, beta: 0.5}",
    ),
    ("update", "client.update={name: proximal, mu: 0}", "client.update=standard"),
    ("update", "client.update={name: moon, mu: 0}", "client.update=standard"),
    ("loss", "client.loss={name: focal, gamma: 0}", "client.loss=cross_entropy"),
    ("loss", "client.loss={name: class_balanced, beta: 0}", "client.loss=cross_entropy"),
    ("loss", "client.loss={name: logit_adjustment, tau: 0, absent: floor1}", "client.loss=cross_entropy"),
    ("loss", "client.loss={name: fedrs, alpha: 1}", "client.loss=cross_entropy"),
]


@pytest.mark.parametrize(("axis", "neutral", "without"), NEUTRAL, ids=[entry[1] for entry in NEUTRAL])
def test_a_neutral_axis_gives_the_others_alone(tmp_path, axis, neutral, without):
    hashes = []
    for change in (neutral, without, COMPOSED[axis]):
        run(digits(*{**COMPOSED, axis: change}.values(), "rounds=3"), tmp_path / str(len(hashes)))
        hashes.append(sha256(tmp_path / str(len(hashes)) / "model.safetensors"))
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("rule", ["scaffold", "feddyn", "moon", "fedce", "local_only"])
def test_what_a_client_keeps_waits_for_its_next_round(tmp_path, rule):
    scenario = digits(f"strategy={rule}", "cohort={size: 2}", "rounds=4", "data.validation=0.2")
    with pytest.raises(Stop):
        run(scenario, tmp_path / "run", observer=StopAfterTwo())
    before = states(tmp_path / "run")
    resume(tmp_path / "run")
    after, reader = states(tmp_path / "run"), RunReader(tmp_path / "run")
    names = [line.split(",")[0] for line in (tmp_path / "run" / "clients.csv").read_text().splitlines()[1:]]
    asked = {row["client"] for row in reader.clients() if row["round"] > 2}
    waiting = [node for node in before if names[client_of(node)] not in asked]
    assert waiting
    assert all(kept(before[node]) == kept(after[node]) for node in waiting)
    again = [node for node in after if names[client_of(node)] in asked]
    assert all(kept(after[node]) != kept(before.get(node, RecordDict())) for node in again)


def states(directory):
    """Return the states in a checkpoint by node id."""
    found = ClientStates()
    found.restore(checkpoint.load(directory).clients)
    clients = len((directory / "clients.csv").read_text().splitlines()) - 1
    return found.present(range(FIRST_NODE, FIRST_NODE + clients))


def kept(state):
    """Return all that a client keeps, comparable."""
    arrays = {
        key: {name: array.data for name, array in record.items()}
        for key, record in state.array_records.items()
    }
    return arrays, {key: dict(record) for key, record in state.metric_records.items()}


def test_a_rule_without_its_update_says_what_is_missing(tmp_path):
    run(digits("strategy=fedce", "client.update=standard", "rounds=1"), tmp_path / "run")
    reasons = " ".join(row["reason"] for row in RunReader(tmp_path / "run").clients())
    assert "the rule asks for 'score'" in reasons


def test_contributions_need_validation_data(tmp_path):
    run(digits("strategy=fedce", "data.validation=0.0", "rounds=2", "cohort.fraction=1.0"), tmp_path / "run")
    assert any("data.validation" in (row["reason"] or "") for row in RunReader(tmp_path / "run").clients())
