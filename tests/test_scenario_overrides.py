"""Changes from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clients.params import ProximalParams, SGDParams, StandardParams
from fedbal.errors import UsageError
from fedbal.scenario import Scenario, load

SCENARIO = """\
name: base
rounds: 10
seed: 3
data:
  dataset: digits
  partition: {name: dirichlet, clients: 20, alpha: 0.3}
model: {name: mlp, hidden: [64]}
strategy: {name: feddisco, a: 0.5, b: 0.2}
client: {local_epochs: 5, batch_size: 10}
cohort: {fraction: 0.5}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "base.yaml"
    file.write_text(SCENARIO)
    return file


def get(scenario: Scenario, key: str) -> Any:
    value: Any = scenario.resolved()
    for part in key.split("."):
        value = value.get(part, "left out")
    return value


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["strategy.a=0.3"], {"strategy.a": 0.3, "strategy.b": 0.2, "strategy.name": "feddisco"}),
        (["strategy.a=1e-3"], {"strategy.a": 0.001}),
        (["strategy=fedavg"], {"strategy": {"name": "fedavg"}}),
        (["strategy={name: feddisco, a: 0.1}"], {"strategy.a": 0.1, "strategy.b": 0.1}),
        (["strategy={name: fedprox, mu: 1}", "strategy.mu=0.1"], {"strategy.mu": 0.1}),
        (["strategy=fedprox", "strategy.mu=0.25"], {"strategy.mu": 0.25, "client.update.mu": 0.25}),
        (["seed=1"], {"seed": {"partition": 1, "init": 1, "training": 1}}),
        (["seed.training=9"], {"seed": {"partition": 3, "init": 3, "training": 9}}),
        (["rounds=3", "rounds=4"], {"rounds": 4}),
        (["data.partition.alpha=0.1"], {"data.partition.alpha": 0.1, "data.partition.clients": 20}),
        (["data.partition=iid", "data.partition.clients=4"], {"data.partition.clients": 4}),
        (["data.long_tail.imbalance_factor=50"], {"data.long_tail.profile": "exponential"}),
        (["client.optimizer.lr=0.01"], {"client.optimizer.lr": 0.01, "client.optimizer.name": "sgd"}),
        (["client.local_steps=7"], {"client.local_steps": 7, "client.local_epochs": "left out"}),
        (["cohort.size=5"], {"cohort.size": 5, "cohort.fraction": "left out"}),
        (["cohort={size: 5}"], {"cohort.size": 5, "cohort.fraction": "left out"}),
        (
            ["cohort.availability.name=size_proportional"],
            {"cohort.availability": {"name": "size_proportional"}},
        ),
        (["model.hidden=[32, 16]"], {"model.hidden": [32, 16]}),
        (["systems.stragglers.fraction=0.5"], {"systems.stragglers.policy": "drop"}),
        ([" rounds = 8 "], {"rounds": 8}),
        (["name=a=b"], {"name": "a=b"}),
        (["data=synthetic", "data.alpha=0"], {"data.alpha": 0.0, "data.partition.name": "natural_id"}),
    ],
)
def test_what_an_override_sets(path: Path, overrides: list[str], expected: dict[str, Any]) -> None:
    scenario = load(path, overrides)
    assert {key: get(scenario, key) for key in expected} == expected


def test_the_update_follows_the_strategy_that_was_set(path: Path) -> None:
    assert load(path).client.update == StandardParams()
    assert load(path, ["strategy={name: fedprox, mu: 2}"]).client.update == ProximalParams(mu=2.0)
    assert load(path, ["client.update=proximal"]).client.update == ProximalParams()


def test_a_block_that_was_set_is_replaced_whole(path: Path) -> None:
    client = load(path, ["client={optimizer: {lr: 0.2}}"]).client
    assert (client.local_epochs, client.batch_size, client.optimizer) == (1, 32, SGDParams(lr=0.2))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["strategy.a=-1"], "--set strategy.a=-1: strategy.a: got -1; a number >= 0 is needed"),
        (["strategy.c=1"], "--set strategy.c=1: strategy.c: unknown key; "),
        (
            ["strategy=fedavgg"],
            "--set strategy=fedavgg: strategy: got fedavgg; unknown strategy; did you mean fedavg",
        ),
        (["strategi=fedavg"], "--set strategi=fedavg: strategi: unknown key; did you mean strategy?"),
        (["rounds=true"], "--set rounds=true: rounds: got true; an integer >= 1 is needed"),
        (["rounds='3'"], "--set rounds='3': rounds: got \"3\"; an integer >= 1 is needed"),
        (["rounds="], "--set rounds=: rounds: got nothing; a value is needed"),
        (["rounds=null"], "--set rounds=null: rounds: got null; a value is needed"),
        (["rounds=.inf"], "--set rounds=.inf: rounds: got .inf; a finite number is needed"),
        (["rounds"], "--set rounds: write dotted.key=value"),
        (["=3"], "--set =3: write dotted.key=value"),
        (["a..b=3"], "--set a..b=3: write dotted.key=value"),
        (["strategy={name: fedprox"], "--set strategy={name: fedprox: not valid YAML"),
        (
            ["strategy={name: feddisco, a: 1, a: 2}"],
            "--set strategy={name: feddisco, a: 1, a: 2}: strategy.a: given twice",
        ),
        (
            ["rounds.x=3"],
            "--set rounds.x=3: rounds.x: rounds is the value 10 and has no keys; set rounds itself.",
        ),
        (["model.hidden.x=3"], "--set model.hidden.x=3: model.hidden.x: model.hidden is a list"),
        (["cohort.size=21"], "--set cohort.size=21: cohort.size: got 21; at most the number of clients"),
        (
            ["client.local_steps=2", "client.local_epochs=3"],
            "--set client.local_steps=2: client.local_steps: got 2; local_epochs is given too",
        ),
    ],
)
def test_a_bad_override_is_named_as_it_was_typed(path: Path, overrides: list[str], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(path, overrides)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(expected)


def test_problems_of_the_file_and_of_overrides_come_together(path: Path) -> None:
    path.write_text(SCENARIO.replace("rounds: 10", "rounds: 0"))
    with pytest.raises(UsageError) as caught:
        load(path, ["strategy.a=-1", "seed=-1"])
    first, second, third = str(caught.value).splitlines()
    assert first.startswith(f"{path}:2: rounds: got 0; ")
    assert second.startswith("--set seed=-1: seed: got -1; an integer >= 0")
    assert third.startswith("--set strategy.a=-1: strategy.a: got -1; ")


def test_an_override_replaces_a_wrong_value_but_not_a_malformed_file(path: Path) -> None:
    path.write_text(SCENARIO.replace("rounds: 10", "rounds: 0"))
    assert load(path, ["rounds=2"]).rounds == 2
    path.write_text(SCENARIO + "rounds: 11\n")
    with pytest.raises(UsageError, match="given twice, in line 2 and in line 11"):
        load(path, ["rounds=2"])


def test_an_excluding_key_of_the_file_stays_an_error(path: Path) -> None:
    path.write_text(SCENARIO.replace("local_epochs: 5", "local_epochs: 5, local_steps: 3"))
    with pytest.raises(
        UsageError, match=r"base\.yaml:9: client\.local_steps: got 3; local_epochs is given too"
    ):
        load(path)
