"""Server optimizers against worked numbers, over two rounds with the same client deltas."""

from __future__ import annotations

import numpy as np
import pytest

from fedbal.errors import UsageError
from fedbal.scenario import from_mapping
from strategies.feddisco import DiscrepancyAware
from strategies.server_optimizers import Adaptive, Momentum
from tests.scenarios import DIGITS

START = np.array([1.0, -1.0])
DELTA = np.array([-0.2, 0.17])


def two_rounds(optimizer):
    first = optimizer.step({"w": START}, {"w": START + DELTA})["w"]
    second = optimizer.step({"w": first}, {"w": first + DELTA})["w"]
    return first, second


@pytest.mark.parametrize(
    ("optimizer", "first", "second"),
    [
        (Momentum(0.0), [0.8, -0.83], [0.6, -0.66]),
        (Momentum(0.9), [0.8, -0.83], [0.42, -0.507]),
        (Momentum(0.9, damped=True), [0.98, -0.983], [0.942, -0.9507]),
        (Adaptive("adam", initial="zero"), [0.90476190, -0.90555556], [0.77468493, -0.77625962]),
        (Adaptive("adam"), [0.90487395, -0.90570796], [0.77487425, -0.77651766]),
        (
            Adaptive("adam", initial="zero", bias_correction=True),
            [0.92928954, -0.92987880],
            [0.84656837, -0.84765432],
        ),
        (Adaptive("yogi", initial="zero"), [0.90476190, -0.90555556], [0.77499941, -0.77657034]),
        (Adaptive("yogi"), [0.90487508, -0.90570949], [0.77519085, -0.77683127]),
        (Adaptive("adagrad", initial="zero"), [0.99004975, -0.99005848], [0.97666206, -0.97667910]),
    ],
)
def test_worked_numbers(optimizer, first, second):
    found = two_rounds(optimizer)
    np.testing.assert_allclose(found[0], first, atol=1e-8)
    np.testing.assert_allclose(found[1], second, atol=1e-8)


@pytest.mark.parametrize("make", [lambda: Momentum(0.9), lambda: Adaptive("adam", bias_correction=True)])
def test_state_round_trips(make):
    whole, part = make(), make()
    first, second = two_rounds(whole)
    part.step({"w": START}, {"w": START + DELTA})
    resumed = make()
    resumed.load_state_dict({key: np.array(value) for key, value in part.state_dict().items()})
    np.testing.assert_array_equal(resumed.step({"w": first}, {"w": first + DELTA})["w"], second)


@pytest.mark.parametrize("optimizer", [Momentum(), Adaptive()])
def test_no_update_is_no_step_and_integers_are_copied(optimizer):
    current = {"w": START.astype(np.float32), "n": np.array(3)}
    following = optimizer.step(current, {"w": START.astype(np.float32), "n": np.array(5)})
    np.testing.assert_array_equal(following["w"], current["w"])
    assert following["w"].dtype == np.float32
    assert following["n"] == 5


@pytest.mark.parametrize(
    "make",
    [lambda: Momentum(1.0), lambda: Momentum(lr=0.0), lambda: Adaptive("sgd"), lambda: Adaptive(tau=0.0)],
)
def test_wrong_parameters_are_refused(make):
    with pytest.raises(ValueError, match=r"need|kind"):
        make()


def test_axes_compose_in_a_scenario():
    changes = [
        "strategy={name: fedavgm, beta: 0.5, weighting: {name: feddisco, a: 0.3}}",
        "client.update={name: proximal, mu: 0.1}",
    ]
    scenario = from_mapping(DIGITS, overrides=changes)
    from fedbal.virtual import create
    from strategies import STRATEGIES

    rule = create(STRATEGIES, scenario.strategy)
    assert isinstance(rule.weighting, DiscrepancyAware)
    assert rule.weighting.a == 0.3
    assert isinstance(rule.server_optimizer, Momentum)
    assert rule.asks == ("label-counts",)
    assert [entry.name for entry in rule.manifest] == ["label-counts"]
    again = from_mapping(scenario.resolved())
    assert again == scenario


def test_an_unknown_weighting_is_one_message():
    with pytest.raises(UsageError, match=r"strategy\.weighting.*feddisco"):
        from_mapping(DIGITS, overrides=["strategy={name: fedavgm, weighting: fedisco}"])
