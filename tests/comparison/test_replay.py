"""Recorded updates fed to other rules: the run's own comes out exactly, others as their formulas say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fedbal
from fedbal import simulation
from fedbal.cli import app
from fedbal.errors import RunError, UsageError
from fedbal.protocol import LABEL_COUNTS, NORMALISED_STEPS
from fedbal.recorded import load_round
from fedbal.results import RunReader
from strategies.feddisco import disco_weights, discrepancy
from strategies.fednova import add_updates, nova_weights
from strategies.mean import weighted_mean
from tests.scenarios import digits

BLOCK = "runtime.record_updates={every: 1, extras: [normalised-steps, received-loss]}"


def run(path: Path, *overrides: str) -> Path:
    simulation.run(digits("rounds=3", BLOCK, *overrides), path)
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return run(tmp_path_factory.mktemp("recorded") / "run", "systems.client_dropout=0.2")


@pytest.fixture(scope="module")
def content(recorded):
    rules = "fedavg,uniform,feddisco,fednova,qfedavg,fedavgm,fedprox,scaffold,centralised,local_only,fedce"
    return fedbal.replay(recorded, rules).content


def of(rows, **keys):
    return [row for row in rows if all(row[key] == value for key, value in keys.items())]


OWN = [
    "fedavg",
    "feddisco",
    "{name: fedavgm, beta: 0.9}",
    "fedadam",
    "fednova",
    "qfedavg",
    "{name: fedprox, adaptive: true}",
    "scaffold",
    "flwr.serverapp.strategy:FedMedian",
    "{name: 'flwr.serverapp.strategy:FedAdam', eta: 0.05}",
]


@pytest.mark.parametrize("rule", OWN)
def test_the_runs_own_rule_comes_out_exactly(rule, tmp_path):
    out = run(tmp_path / "run", f"strategy={rule}", "client.optimizer.lr=0.05", "systems.client_dropout=0.2")
    found = fedbal.replay(out, "uniform").content
    own = of(found["models"], rule=found["rule"])
    assert [row["round"] for row in own] == [1, 2, 3]
    assert all(row["as_run"] is True for row in own)
    tests = {row["round"]: row["test"] for row in RunReader(out).rounds()}
    assert [row["test"] for row in own] == [tests[number] for number in (1, 2, 3)]
    weights = {(row["round"], row["client"]): row["weight"] for row in RunReader(out).clients()}
    rows = of(found["weights"], rule=found["rule"])
    assert rows
    for row in rows:
        assert row["weight"] == weights[row["round"], row["client"]] == row["run_weight"]
    others = of(found["models"], rule="uniform")
    assert all(row["as_run"] is None for row in others)


def test_weights_are_those_of_the_formulas(recorded, content):
    for number in (1, 2, 3):
        one = load_round(recorded, number)
        samples = [reply.num_examples for reply in one.replies]
        counts = [one.extras(reply.node)[LABEL_COUNTS] for reply in one.replies]
        expected = {
            "fedavg": np.array(samples) / sum(samples),
            "uniform": np.full(len(samples), 1 / len(samples)),
            "feddisco": disco_weights(samples, discrepancy(counts), 0.5, 0.1),
        }
        for rule, weights in expected.items():
            given = [row["weight"] for row in of(content["weights"], round=number, rule=rule)]
            assert given == pytest.approx(weights.tolist(), abs=1e-12)


def test_steps_and_distances(recorded, content):
    one = load_round(recorded, 2)
    samples = np.array([reply.num_examples for reply in one.replies])
    models = [reply.arrays for reply in one.replies]
    mean = weighted_mean(models, samples / samples.sum())
    steps = [one.extras(reply.node)[NORMALISED_STEPS][0] for reply in one.replies]
    nova = add_updates(one.arrays, models, nova_weights(samples / samples.sum(), steps))

    def flat(arrays):
        return np.concatenate([value.astype(np.float64).ravel() for value in arrays.values()])

    start, a, b = flat(one.arrays), flat(mean), flat(nova)
    (pair,) = of(content["pairs"], round=2, rule="fedavg", other="fednova")
    assert pair["distance"] == pytest.approx(np.linalg.norm(a - b))
    first, second = a - start, b - start
    assert pair["cosine"] == pytest.approx(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    assert pair["distance"] > 0
    momentum = of(content["pairs"], round=1, rule="fedavg", other="fedavgm")
    # The first step of momentum is FedAvg's.
    assert momentum[0]["distance"] == pytest.approx(0.0, abs=1e-6)


def test_what_cannot_be_replayed_says_why(content):
    refused = content["refused"]
    assert set(refused) == {"fedprox", "scaffold", "centralised", "local_only", "fedce"}
    assert "clients train with proximal (mu=1.0)" in refused["fedprox"]
    assert "trained with standard" in refused["scaffold"]
    assert "the data of all" in refused["centralised"]
    assert any("fedavgm" in note and "starts empty" in note for note in content["notes"])
    assert not any("uniform" in note for note in content["notes"])


def test_extras_that_were_not_recorded_are_asked_for(tmp_path):
    simulation.run(digits("rounds=1", "runtime.record_updates=true"), tmp_path / "run")
    found = fedbal.replay(tmp_path / "run", ["uniform", "qfedavg", "fednova"]).content
    assert "received-loss" in found["refused"]["qfedavg"]
    assert "runtime.record_updates.extras: [normalised-steps]" in found["refused"]["fednova"]
    with pytest.raises(UsageError, match="none of these rules can be replayed"):
        fedbal.replay(tmp_path / "run", ["qfedavg", "scaffold"])


def test_some_of_the_clients_are_said_to_be_some(tmp_path):
    simulation.run(digits("rounds=2", "runtime.record_updates={clients: 2}"), tmp_path / "run")
    found = fedbal.replay(tmp_path / "run").content
    assert any("2 of its 4 replies" in note for note in found["notes"])
    for row in of(found["models"], rule="fedavg"):
        assert row["as_run"] is False
    assert sum(row["weight"] for row in of(found["weights"], rule="fedavg", round=1)) == pytest.approx(1.0)


RULE = '''
import numpy as np
from strategies.base import AggregationRule

class First(AggregationRule):
    """All weight to the first client."""

    def weights(self, replies):
        return np.eye(len(replies))[0]

class Broken(AggregationRule):
    """Fails."""

    def weights(self, replies):
        raise ZeroDivisionError("nothing to divide")
'''


def test_rules_of_ones_own_and_failures(recorded, tmp_path, monkeypatch):
    (tmp_path / "rules.py").write_text(RULE)
    monkeypatch.chdir(tmp_path)
    rules = "./rules.py:First, ./rules.py:Broken, {name: feddisco, a: 0.0, b: 0.0}"
    replay = fedbal.replay(recorded, rules, rounds=[2])
    found = replay.content
    weights = [row["weight"] for row in of(found["weights"], rule="First")]
    assert weights == [1.0] + [0.0] * (len(weights) - 1)
    (broken,) = of(found["models"], rule="Broken")
    assert broken["status"] == "failed"
    assert "nothing to divide" in broken["reason"]
    (same,) = of(found["pairs"], rule="fedavg", other="feddisco a=0.0, b=0.0")
    assert same["distance"] == 0.0
    frames = replay.models, replay.weights, replay.pairs
    assert "test.balanced_accuracy" in frames[0].columns
    assert len(frames[1]) == len(found["weights"])
    assert set(frames[2]["round"]) == {2}


def test_the_command(recorded, tmp_path):
    cli = CliRunner()
    shown = cli.invoke(app, ["replay", str(recorded), "--rounds", "1", "--strategies", "uniform,scaffold"])
    assert shown.exit_code == 0, shown.output
    for text in (
        "one-round counterfactuals",
        "weight that each rule gives",
        "not replayed: scaffold",
        "in 1 of 1",
    ):
        assert text in shown.output
    wrote = cli.invoke(
        app, ["replay", str(recorded), "--out", str(tmp_path / "out"), "--json", "--rounds", "1-2"]
    )
    assert wrote.exit_code == 0, wrote.output
    content = json.loads(wrote.output)
    assert content["rounds"] == [1, 2]
    assert json.loads((tmp_path / "out" / "replay.json").read_text()) == content
    lines = (tmp_path / "out" / "weights.csv").read_text().splitlines()
    assert len(lines) == 1 + len(content["weights"])
    assert "test.balanced_accuracy" in (tmp_path / "out" / "models.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "9"], "has not recorded round 9; recorded: 1-3"),
        (["--rounds", "one"], "give rounds such as"),
        (["--strategies", "fedagv"], "unknown strategy"),
        (["--strategies", "{"], "give rules with commas"),
        (["--strategies", "{name: feddisco, a: -1}"], "strategy.a"),
    ],
)
def test_mistakes_are_one_message(recorded, arguments, message):
    result = CliRunner().invoke(app, ["replay", str(recorded), *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_runs_without_updates_and_changed_data(recorded, tmp_path):
    simulation.run(digits("rounds=1"), tmp_path / "run")
    with pytest.raises(UsageError, match="no recorded updates"):
        fedbal.replay(tmp_path / "run")
    import shutil

    shutil.copytree(recorded, tmp_path / "copy")
    scenario = tmp_path / "copy" / "scenario.yaml"
    scenario.write_text(scenario.read_text().replace("alpha: 0.3", "alpha: 0.9"))
    with pytest.raises(RunError, match="cannot replay: the partition"):
        fedbal.replay(tmp_path / "copy")
