"""What the weights of a round go with."""

from __future__ import annotations

import json

import pytest

from fedbal.credit import credit
from fedbal.results import RunReader
from fedbal.simulation import run
from tests.scenarios import digits


def rows(weights, samples=(10, 20, 30), received=(0.9, 0.5, 0.7)):
    together = zip(weights, samples, received, strict=True)
    return [{"weight": w, "num_examples": n, "received_accuracy": a} for w, n, a in together]


def test_weights_by_samples():
    found = credit(rows((1 / 6, 2 / 6, 3 / 6)))
    assert found["clients"] == 3
    assert found["effective_clients"] == pytest.approx(36 / 14)
    assert found["largest"] == pytest.approx(0.5)
    assert found["weight_to_samples"] == pytest.approx(1.0)
    assert found["weight_to_received"] == pytest.approx(-0.5)


def test_equal_weights_go_with_nothing():
    found = credit(rows((1 / 3, 1 / 3, 1 / 3)))
    assert found["effective_clients"] == pytest.approx(3.0)
    assert found["weight_to_samples"] is found["weight_to_received"] is None


def test_clients_without_a_weight_or_a_score():
    assert credit(rows((None, None, None))) is None
    assert credit([]) is None
    found = credit(rows((0.25, None, 0.75), received=(0.9, None, None)))
    assert (found["clients"], found["weight_to_samples"], found["weight_to_received"]) == (2, 1.0, None)


@pytest.mark.parametrize("rule", ["fedce", "fedavg"])
def test_a_run_reports_both_views_of_fairness(tmp_path, rule):
    changes = [f"strategy={rule}", "data.validation=0.2", "data.client_test=0.2", "cohort.fraction=1.0"]
    run(digits(*changes), tmp_path / "run")
    reader = RunReader(tmp_path / "run")
    row, summary = reader.rounds()[-1], reader.summary()
    last = [entry for entry in reader.clients() if entry["round"] == row["round"]]
    assert row["credit"] == json.loads(json.dumps(credit(last)))
    if rule == "fedavg":
        assert row["credit"]["weight_to_samples"] == pytest.approx(1.0)
    assert summary["fairness"] == {"performance": row["fairness"]["final"], "credit": row["credit"]}
    assert summary["fairness"]["performance"]["std"] is not None


def test_stock_strategies_do_not_say_their_weights(tmp_path):
    run(digits("strategy=flwr.serverapp.strategy:FedAvg", "rounds=1"), tmp_path / "run")
    assert RunReader(tmp_path / "run").rounds()[-1]["credit"] is None
