"""One contract for every registered rule."""

from __future__ import annotations

import numpy as np
import pytest

from fedbal.contract import rules
from strategies import STRATEGIES
from strategies.fedavg import FedAvg, fedavg
from strategies.weighting import BySamples
from tests.strategies.replies import model

FEDAVG_VALUES = {
    "fedavg": {},
    "fedprox": {"mu": 0.0},
    "feddisco": {"a": 0.0, "b": 0.0},
    "fedavgm": {"beta": 0.0},
    "fednova": {},
    "moon": {"mu": 0.0},
    "fedbr": {"mu": 0.0, "lam": 0.0},
    "centralised": {},
    "fedavg_finetuned": {},
    "qfedavg": {"q": 0.0, "weighting": BySamples()},
}
NEVER_FEDAVG = {
    "uniform": "FedAvg for clients of equal size, whatever its parameters",
    "scaffold": "FedAvg only while controls are 0 and sizes equal",
    "feddyn": "no parameter takes the drift correction off",
    "local_only": "nothing is averaged",
    "fedce": "weights come from cosines and scores, not from a parameter",
}
LARGE = 1e7
NEARLY_FEDAVG = {
    "fedadam": {"tau": LARGE, "lr": LARGE, "beta1": 0.0, "initial": "zero"},
    "fedyogi": {"tau": LARGE, "lr": LARGE, "beta1": 0.0, "initial": "zero"},
    "fedadagrad": {"tau": LARGE, "lr": LARGE, "beta1": 0.0, "initial": "zero"},
}
SIZES = list(rules.SIZES)


def make(kind, **parameters):
    return rules.RuleSubject(kind, parameters)


def aggregate(subject):
    return subject.aggregate(subject.make())


@pytest.fixture(params=list(STRATEGIES))
def name(request):
    return request.param


def test_every_rule_has_a_value_that_is_fedavg(name):
    if name in NEVER_FEDAVG:
        pytest.skip(NEVER_FEDAVG[name])
    expected = aggregate(make(FedAvg))
    if name in NEARLY_FEDAVG:
        found = aggregate(make(STRATEGIES.load(name), **NEARLY_FEDAVG[name]))
        np.testing.assert_allclose(found["w"], expected["w"], rtol=1e-5)
        return
    assert name in FEDAVG_VALUES, "name the parameters that make this rule FedAvg"
    found = aggregate(make(STRATEGIES.load(name), **FEDAVG_VALUES[name]))
    np.testing.assert_array_equal(found["w"], expected["w"])


@pytest.mark.parametrize("item", rules.ITEMS, ids=lambda item: item.title)
def test_every_rule_keeps_the_contract(name, item):
    assert item.check(rules.RuleSubject(STRATEGIES.load(name)))


def test_parameters_have_the_defaults_of_the_class(name):
    import inspect

    declared = dict(STRATEGIES.params_model(name)().kwargs().items())
    signature = inspect.signature(STRATEGIES.load(name).__init__).parameters
    assert {key: signature[key].default for key in declared} == declared


def test_docstring_names_the_paper_and_every_parameter(name):
    import importlib

    module = importlib.import_module(STRATEGIES[name].target.split(":")[0])
    author = (STRATEGIES[name].paper or "-").split()[0]
    assert author in (module.__doc__ or "") or name in ("uniform", "local_only", "centralised")
    for parameter in STRATEGIES.params_model(name)().kwargs():
        assert f"{parameter}" in (STRATEGIES.load(name).__doc__ or "")


def test_pure_fedavg_agrees_with_the_class():
    found = aggregate(make(FedAvg))["w"].ravel()
    stacked = np.stack([model(shift)["w"].ravel() for shift in (1.0, 2.0, -3.0)])
    np.testing.assert_allclose(found, fedavg(stacked, SIZES), rtol=1e-6)


def test_fedavg_worked_number():
    models = np.array([[0.5, -0.8], [0.9, -1.3], [1.4, -0.2]])
    np.testing.assert_allclose(fedavg(models, [50, 30, 20]), [0.8, -0.83])
