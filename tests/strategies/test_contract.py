"""One contract for every registered rule."""

from __future__ import annotations

import numpy as np
import pytest

from fedbal.protocol import to_arrays
from strategies import STRATEGIES
from strategies.base import AggregationRule
from strategies.fedavg import FedAvg, fedavg
from strategies.report import ServerContext
from tests.strategies.replies import MODEL, ask, error_reply, model, reply_to

FEDAVG_VALUES = {
    "fedavg": {},
    "fedprox": {"mu": 0.0},
    "feddisco": {"a": 0.0, "b": 0.0},
    "fedavgm": {"beta": 0.0},
}
COUNTS = [(8, 2), (1, 4), (5, 5)]
SIZES = [10, 5, 10]


def make(name, **parameters) -> AggregationRule:
    rule = STRATEGIES.load(name)(**parameters)
    rule.context = ServerContext(num_classes=2)
    return rule


def aggregate(rule, order=(0, 1, 2), shifts=(1.0, 2.0, -3.0)):
    messages = ask(rule)
    replies = [reply_to(messages[k], model(shifts[k]), SIZES[k], counts=COUNTS[k]) for k in order]
    record, _ = rule.aggregate_train(1, replies)
    return to_arrays(record)


@pytest.fixture(params=list(STRATEGIES))
def name(request):
    return request.param


def test_every_rule_has_a_value_that_is_fedavg(name):
    assert name in FEDAVG_VALUES, "name the parameters that make this rule FedAvg"
    found = aggregate(make(name, **FEDAVG_VALUES[name]))
    expected = aggregate(FedAvg())
    np.testing.assert_array_equal(found["w"], expected["w"])


def test_order_of_replies_does_not_matter(name):
    straight, turned = aggregate(make(name)), aggregate(make(name), order=(2, 0, 1))
    assert straight["w"].tobytes() == turned["w"].tobytes()


def test_one_client_gives_that_client(name):
    rule = make(name)
    messages = ask(rule, nodes=(2,))
    record, _ = rule.aggregate_train(1, [reply_to(messages[0], model(7.0), 4)])
    np.testing.assert_allclose(to_arrays(record)["w"], model(7.0)["w"], rtol=1e-6)


def test_equal_models_stay(name):
    found = aggregate(make(name), shifts=(2.0, 2.0, 2.0))
    np.testing.assert_allclose(found["w"], model(2.0)["w"], rtol=1e-6)


def test_a_client_with_nan_is_named_and_dropped(name):
    rule = make(name)
    messages = ask(rule)
    bad = model(0.0)
    bad["w"] = bad["w"].copy()
    bad["w"][0, 0] = np.nan
    replies = [
        reply_to(messages[0], model(1.0), 10),
        reply_to(messages[1], bad, 10),
        error_reply(messages[2]),
    ]
    record, _ = rule.aggregate_train(1, replies)
    np.testing.assert_allclose(to_arrays(record)["w"], model(1.0)["w"], rtol=1e-6)
    assert set(rule.report.dropped) == {3, 4}
    assert "non-finite" in rule.report.dropped[3]
    assert "boom" in rule.report.dropped[4]
    assert rule.report.weights == {2: 1.0}


def test_without_a_valid_reply_the_model_stays(name):
    rule = make(name)
    messages = ask(rule)
    assert rule.aggregate_train(1, [error_reply(message) for message in messages]) == (None, None)
    assert len(rule.report.dropped) == 3


def test_weights_are_a_distribution(name):
    rule = make(name)
    aggregate(rule)
    weights = np.array(list(rule.report.weights.values()))
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)


def test_state_round_trips(name):
    rule = make(name)
    aggregate(rule)
    other = make(name)
    other.load_state_dict(rule.state_dict())
    np.testing.assert_array_equal(aggregate(rule)["w"], aggregate(other)["w"])
    assert {key: value.tobytes() for key, value in rule.state_dict().items()} == {
        key: value.tobytes() for key, value in other.state_dict().items()
    }


def test_dtypes_shapes_and_integer_buffers_are_kept(name):
    found = aggregate(make(name))
    assert found["w"].dtype == np.float32
    assert found["steps"].dtype == np.int64
    assert found["steps"] == MODEL["steps"]


def test_parameters_have_the_defaults_of_the_class(name):
    import inspect

    declared = dict(STRATEGIES.params_model(name)().kwargs().items())
    signature = inspect.signature(STRATEGIES.load(name).__init__).parameters
    assert {key: signature[key].default for key in declared} == declared


def test_docstring_names_the_paper_and_every_parameter(name):
    import importlib

    module = importlib.import_module(STRATEGIES[name].target.split(":")[0])
    author = STRATEGIES[name].paper.split()[0]
    assert author in (module.__doc__ or "")
    for parameter in STRATEGIES.params_model(name)().kwargs():
        assert f"{parameter}" in (STRATEGIES.load(name).__doc__ or "")


def test_pure_fedavg_agrees_with_the_class():
    found = aggregate(FedAvg())["w"].ravel()
    stacked = np.stack([model(shift)["w"].ravel() for shift in (1.0, 2.0, -3.0)])
    np.testing.assert_allclose(found, fedavg(stacked, SIZES), rtol=1e-6)


def test_fedavg_worked_number():
    models = np.array([[0.5, -0.8], [0.9, -1.3], [1.4, -0.2]])
    np.testing.assert_allclose(fedavg(models, [50, 30, 20]), [0.8, -0.83])
