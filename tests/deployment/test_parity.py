"""Every shipped rule computes the same bytes on a real deployment as in simulation; one deployment serves all."""

from __future__ import annotations

import pytest

from fedbal.deployment.loopback import Loopback
from fedbal.deployment.parity import parity
from fedbal.errors import UsageError
from strategies import STRATEGIES
from tests.scenarios import digits

SITES = 3
SMALL = ("data.partition.clients=3", "rounds=2", "client.local_epochs=1", "cohort.fraction=0.67")
RULES = [name for name in STRATEGIES if name != "centralised"]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    with Loopback(tmp_path_factory.mktemp("deployment") / "all", SITES) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_simulation_and_deployment_are_equal(deployment, tmp_path, rule):
    rounds = parity(digits(*SMALL, f"strategy={rule}"), deployment, tmp_path)
    assert [one.round for one in rounds] == [1, 2]
    assert all(one.equal and one.difference == 0.0 for one in rounds)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "data.preprocess.scale=standard",
        "client.loss={name: logit_adjustment, prior: global}",
        "systems.stragglers={fraction: 0.4, policy: partial}",
        "strategy=flwr.serverapp.strategy:FedAvg",
        "evaluation.clients=cohort",
    ],
)
def test_other_parts_of_a_scenario_are_equal_too(deployment, tmp_path, change):
    rounds = parity(digits(*SMALL, change), deployment, tmp_path)
    assert all(one.equal for one in rounds)


def test_a_reference_on_pooled_data_is_for_simulations(tmp_path):
    with pytest.raises(UsageError, match="pooled data"):
        parity(digits(*SMALL, "strategy=centralised"), None, tmp_path)
