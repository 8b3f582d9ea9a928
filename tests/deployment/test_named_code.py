"""A scenario from another machine calls no code that the site's owner did not name."""

from __future__ import annotations

from pathlib import Path

import pytest
from flwr.app import Error, RecordDict

from fedbal.deployment.bundle import write_bundle
from fedbal.deployment.gate import Terms
from fedbal.deployment.named_code import named_code, require_named
from fedbal.deployment.order import JOIN
from fedbal.deployment.seat import SiteOptions
from fedbal.deployment.worker import Worker
from fedbal.errors import RunError
from fedbal.records import to_bytes
from fedbal.scenario import Scenario, from_mapping, load, shipped

PLACES = ["strategy", "client.update", "client.loss", "client.optimizer", "model", "cohort.availability"]


def naming(place: str, name: str, **arguments: str) -> Scenario:
    values = load("quickstart").resolved()
    *path, last = place.split(".")
    block = values
    for key in path:
        block = block[key]
    block[last] = {"name": name, **arguments}
    return from_mapping(values)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["os:system", "os.system"])
def test_code_is_found_wherever_it_is_named(place: str, name: str) -> None:
    scenario = naming(place, name)
    assert named_code(scenario) == [name]
    with pytest.raises(RunError, match=rf"--component '{name}'"):
        require_named(scenario, ["another:One"])
    require_named(scenario, [name])
    require_named(scenario, ["any"])


@pytest.mark.parametrize("name", [name for name, _ in shipped()])
def test_shipped_scenarios_name_none(name: str) -> None:
    assert named_code(load(name)) == []


def test_flowers_strategies_are_rules_and_nothing_else() -> None:
    assert named_code(naming("strategy", "flwr.serverapp.strategy:FedAdam")) == []
    assert named_code(naming("client.loss", "flwr.serverapp.strategy:FedAdam")) != []
    assert named_code(naming("strategy", "flwr.serverapp.strategy_of_mine:Rule")) != []


def test_a_site_calls_nothing_before_its_owner_named_it(tmp_path: Path) -> None:
    mark = tmp_path / "called"
    scenario = naming("client.loss", "os:system", command=f"touch {mark}")
    package = write_bundle(scenario, tmp_path / "app") / "fedbal_run"
    worker = Worker(SiteOptions("site-1", tmp_path / "runs"), Terms("site-1", tmp_path, ("any",)))
    answer = worker._answer(JOIN, "0", package, to_bytes(RecordDict()))
    assert isinstance(answer, Error)
    assert "os:system" in str(answer.reason)
    assert not mark.exists()
