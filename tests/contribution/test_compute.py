"""Contributions of real federations: three clients exactly, nine by Monte-Carlo, stopped and taken up again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fedbal.cli import app
from fedbal.contribution.compute import RESULT, Options, contribution, with_fedce
from fedbal.contribution.ledger import ROWS
from fedbal.contribution.shapley import exact_shapley
from fedbal.contribution.training import CoalitionTrainer
from fedbal.errors import RunError, UsageError
from fedbal.interrupts import Signals
from fedbal.simulation import run
from tests.scenarios import digits

SMALL = ("data.partition.clients=3", "rounds=2", "cohort.fraction=1", "data.validation=0.2")


def small(*overrides):
    return digits(*SMALL, *overrides)


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    out = tmp_path_factory.mktemp("contribution") / "three"
    return contribution(small(), Options(), out), out


def rows(out):
    return [json.loads(line) for line in (out / ROWS).read_text().splitlines()]


def test_three_clients_exactly(computed):
    found, out = computed
    assert found["clients"] == ["0", "1", "2"]
    assert sum(found["shapley"]) == pytest.approx(found["everyone"] - found["nobody"], abs=1e-12)
    utilities = {
        frozenset(map(int, json.loads(row["key"]))): row["value"]
        for row in rows(out)
        if row["run"] == "coalition"
    }
    assert len(utilities) == 8
    np.testing.assert_array_equal(found["shapley"], exact_shapley(utilities, 3))
    assert found["leave_one_out"][1] == utilities[frozenset({0, 1, 2})] - utilities[frozenset({0, 2})]
    assert found["trained"] == 8 + 2 + 1
    assert len(set(found["noise"]["utilities"])) > 1
    assert found["noise"]["std"] == pytest.approx(np.std(found["noise"]["utilities"], ddof=1))
    assert found["notes"] == []
    assert json.loads((out / RESULT).read_text()) == found


def test_everyone_is_the_plain_run_and_nobody_the_initial_model(computed, tmp_path):
    found, _ = computed
    assert found["everyone"] == run(small(), tmp_path / "run").summary["final"]["accuracy"]
    with Signals() as signals, CoalitionTrainer(small(), signals, "accuracy", "test") as trainer:
        assert trainer.assembly.test(trainer.assembly.initial)["accuracy"] == found["nobody"]


def test_fedce_weights_are_those_of_its_run(computed, tmp_path):
    found, _ = computed
    fedce = with_fedce(small())
    assert (fedce.strategy.name, fedce.client.update.name) == ("fedce", "contribution")
    directory = run(fedce, tmp_path / "fedce").directory
    last = [json.loads(line) for line in (directory / "clients.jsonl").read_text().splitlines()][-3:]
    assert found["fedce"]["weights"] == {row["client"]: row["weight"] for row in last}
    assert set(found["fedce"]["spearman"]) == {"shapley", "leave_one_out"}
    assert -1 <= found["fedce"]["pearson"]["shapley"] <= 1


def test_coalitions_do_not_leak_into_each_other():
    """A rule and a client update with state, trained in another order, come to the same bytes."""
    scenario = small("strategy=scaffold")
    pair, everyone = frozenset({0, 2}), frozenset({0, 1, 2})
    with Signals() as signals, CoalitionTrainer(scenario, signals, "accuracy", "test") as trainer:
        first = trainer.train(pair).arrays
        trainer.train(everyone)
        second = trainer.train(pair).arrays
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_a_killed_computation_goes_on(computed, tmp_path):
    expected, _ = computed
    out, seen = tmp_path / "killed", []

    def stop(title, value, seconds):
        seen.append(title)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contribution(small(), Options(), out, stop)
    kept = rows(out)
    assert len(kept) == 4
    with (out / ROWS).open("ab") as file:
        file.write(b'{"run": "coalition", "key": "[\\"0')
    found = contribution(small(), Options(), out)
    assert found["trained"] == expected["trained"] - 4
    assert rows(out)[:4] == kept
    assert {**found, "trained": 0} == {**expected, "trained": 0}
    assert contribution(small(), Options(), out)["trained"] == 0


def test_a_directory_of_something_else_is_refused(computed, tmp_path):
    _, out = computed
    with pytest.raises(UsageError, match=r"holds contributions of something else \(different: .*scenario"):
        contribution(small("rounds=1"), Options(), out)
    with pytest.raises(UsageError, match=r"different: .*metric"):
        contribution(small(), Options(metric="balanced_accuracy"), out)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        contribution(small(), Options(), tmp_path)


def test_nine_clients_by_monte_carlo(tmp_path):
    scenario = digits("data.partition={name: iid, clients: 9}", "rounds=1", "cohort={size: 5}")
    with pytest.raises(UsageError, match=r"9 clients .* \(512\) .* --orders M"):
        contribution(scenario, Options(), tmp_path / "exact")
    options = Options(orders=2, repeats=1, rows="validation", metric="balanced_accuracy")
    found = contribution(scenario, options, tmp_path / "sampled")
    assert found["orders"] == 2
    assert found["noise"]["std"] is None
    assert "5 of 9 clients" in found["notes"][0]
    gap = found["everyone"] - found["nobody"] - sum(found["shapley"])
    assert abs(gap) <= 0.01 * found["everyone"] + 1e-12
    more = contribution(scenario, Options("balanced_accuracy", "validation", 3, 1), tmp_path / "sampled")
    assert 0 < more["trained"] <= 9


def test_what_has_no_contributions_is_refused(tmp_path):
    with pytest.raises(UsageError, match="only one client has training data"):
        contribution(small("data.partition.clients=1"), Options(), tmp_path / "one")
    for name in ("local_only", "centralised"):
        with pytest.raises(UsageError, match=f"{name} makes no model that clients contribute to"):
            contribution(small(f"strategy={name}"), Options(), tmp_path / name)
    with pytest.raises(UsageError, match=r"raise data\.validation"):
        contribution(small("data.validation=0"), Options(rows="validation"), tmp_path / "rows")


def test_without_validation_rows_there_is_no_comparison_with_fedce(tmp_path):
    scenario = small("data.validation=0", "data.partition.clients=2", "rounds=1")
    found = contribution(scenario, Options(repeats=1), tmp_path / "out")
    assert found["fedce"] == {
        "weights": None,
        "reason": "FedCE needs validation rows: set data.validation.",
    }


def test_a_federation_in_which_nothing_counts_is_an_error(tmp_path):
    """Steps so large that every model overflows: all replies are refused, and no value would mean anything."""
    scenario = small("client.optimizer={name: sgd, lr: 1.0e+38}")
    with pytest.raises(RunError, match=r"no client's work counted .* non-finite"):
        contribution(scenario, Options(), tmp_path / "out")


def call(*arguments):
    return CliRunner().invoke(app, ["contribution", *map(str, arguments)])


def test_the_command(tmp_path):
    scenario = tmp_path / "small.yaml"
    scenario.write_text(small().to_yaml())
    done = call(scenario, "--rounds", 1, "--repeats", 2, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    for text in ("contributions (exact)", "Shapley", "leave-one-out", "noise floor", "rank correlation"):
        assert text in done.stdout
    assert "trained 0, 1:" in done.stderr
    again = call(scenario, "--rounds", 1, "--repeats", 2, "--out", tmp_path / "out", "--json")
    found = json.loads(again.stdout)
    assert (found["trained"], found["rounds"], len(found["shapley"])) == (0, 1, 3)
    sampled = call(scenario, "--rounds", 1, "--repeats", 1, "--orders", 2, "--out", tmp_path / "out")
    assert "truncated Monte-Carlo, 2 orders" in sampled.stdout
    wrong = call(scenario, "--set", "data.partition.clients=1", "--out", tmp_path / "one")
    assert wrong.exit_code == 2
    assert "Traceback" not in wrong.output
    assert not (tmp_path / "one").exists()
