"""The knobs of a scenario, and scenarios with other values of them."""

from __future__ import annotations

import pytest

from fedbal.comparison.tuning.space import distance, overrides_of, search_space
from fedbal.errors import UsageError
from fedbal.scenario import from_mapping
from fedbal.search_space import OneOf, Range
from tests.scenarios import digits

OWN = """
from fedbal.search_space import OneOf, Range
from strategies.fedavg import FedAvg

class Mine(FedAvg):
    search_space = {"strength": Range(0.1, 10.0, log=True), "kind": OneOf(("a", "b"))}

    def __init__(self, strength=1.0, kind="a"):
        super().__init__()

class Wrong(FedAvg):
    search_space = {"strength": [0.1, 10.0]}
"""


def keys(scenario):
    return [knob.key for knob in search_space(scenario)]


def test_a_rule_brings_its_knobs_and_the_learning_rate():
    assert keys(digits()) == ["client.optimizer.lr"]
    assert keys(digits("strategy=fedadam")) == ["strategy.lr", "strategy.tau", "client.optimizer.lr"]


def test_parts_of_a_rule_and_the_loss_bring_theirs():
    scenario = digits("strategy={name: fedprox, server_optimizer: momentum}", "client.loss=focal")
    assert keys(scenario) == [
        *("strategy.server_optimizer.beta", "strategy.server_optimizer.lr", "strategy.mu"),
        *("client.loss.gamma", "client.optimizer.lr"),
    ]


def test_an_update_of_its_own_brings_its_knobs_and_one_that_is_asked_for_does_not():
    assert keys(digits("strategy=fedprox")) == ["strategy.mu", "client.optimizer.lr"]
    assert keys(digits("client.update=proximal")) == ["client.update.mu", "client.optimizer.lr"]


def test_the_update_that_a_rule_asks_for_follows_the_rule():
    scenario = digits("strategy=fedprox")
    knobs = search_space(scenario)
    values = {"strategy.mu": 0.25, "client.optimizer.lr": 1e-5}
    changed = from_mapping(scenario.resolved(), overrides=overrides_of(scenario, values, knobs))
    assert changed.strategy.mu == changed.client.update.mu == 0.25
    assert changed.client.optimizer.lr == 1e-5


def test_defaults_change_nothing_and_are_at_no_distance():
    knobs = search_space(digits("strategy=fedprox"))
    defaults = {knob.key: knob.default for knob in knobs}
    assert overrides_of(digits("strategy=fedprox"), defaults, knobs) == ()
    assert distance(defaults, knobs) == 0.0
    # From the default of 1 to the end at 10: a quarter of four decades; the rate from 0.1 to 1: a third of three.
    there = {"strategy.mu": 10.0, "client.optimizer.lr": 1.0}
    assert distance(there, knobs) == pytest.approx((1 / 16 + 1 / 9) ** 0.5)


def test_edges_are_five_percent_of_a_space_unless_nothing_lies_beyond():
    mu, rate = search_space(digits("strategy=fedprox"))
    # Five percent of four decades is a factor of 10 ** 0.2 = 1.58.
    assert [mu.edge(value) for value in (0.0015, 0.0017, 1.0, 6.2, 6.4)] == ["low", None, None, None, "high"]
    assert rate.edge(1.0) == "high"
    a, b, _ = search_space(digits("strategy=feddisco"))
    assert (a.edge(0.0), a.edge(1.0)) == (None, "high")
    assert (b.edge(0.01), b.edge(0.49)) == (None, "high")
    beta = search_space(digits("strategy=fedavgm"))[0]
    assert [beta.edge(value) for value in (0.0, 0.9, 0.97)] == [None, None, "high"]
    alpha = search_space(digits("client.loss=fedrs"))[0]
    assert (alpha.edge(0.0), alpha.edge(1.0)) == (None, None)


def test_a_scenario_can_move_the_search():
    (rate,) = search_space(digits("client.optimizer.lr=4.0"))
    assert rate.space == Range(0.001, 4.0, log=True)
    assert rate.edge(4.0) == "high"


def test_a_rule_of_ones_own_declares_its_space(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    path = tmp_path / "mine.py"
    strength, kind, rate = search_space(digits(f"strategy={{name: '{path}:Mine', kind: b}}"))
    assert (strength.key, strength.default, strength.space) == (
        "strategy.strength",
        1.0,
        Range(0.1, 10.0, log=True),
    )
    assert (kind.default, kind.space, kind.edge("a")) == ("b", OneOf(("a", "b")), None)
    assert rate.key == "client.optimizer.lr"
    with pytest.raises(UsageError, match=r"search_space of .*Wrong.* declare a dictionary"):
        search_space(digits(f"strategy={path}:Wrong"))
