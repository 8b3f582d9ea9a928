"""Scenarios: defaults, short forms, resolution, references, immutability."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from clients.params import ProximalParams, SGDParams, StandardParams
from fedbal.errors import UsageError
from fedbal.params import CustomParams
from fedbal.scenario import Scenario, find_scenario, from_mapping, load
from strategies.params import FedDiscoParams, FedProxParams

LEAST: dict[str, Any] = {
    "name": "least",
    "rounds": 3,
    "data": "digits",
    "model": "logistic",
    "strategy": "fedavg",
}


def write(folder: Path, text: str, name: str = "s.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def least(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(LEAST), **changes}


def test_the_least_scenario_gets_every_default() -> None:
    scenario = from_mapping(LEAST)
    assert scenario.resolved() == {
        "name": "least",
        "seed": {"partition": 0, "init": 0, "training": 0},
        "rounds": 3,
        "data": {
            "dataset": "digits",
            "partition": {"name": "iid", "clients": 10},
            "validation": 0.1,
            "client_test": 0.1,
            "holdout_clients": 0.0,
            "test": 0.2,
        },
        "model": {"name": "logistic"},
        "strategy": {"name": "fedavg"},
        "client": {
            "update": {"name": "standard"},
            "loss": {"name": "cross_entropy"},
            "local_epochs": 1,
            "batch_size": 32,
            "optimizer": {
                "name": "sgd",
                "schedule": {"name": "constant"},
                "lr": 0.1,
                "momentum": 0.0,
                "weight_decay": 0.0,
                "nesterov": False,
            },
            "augment": {"crop_padding": 0, "horizontal_flip": False},
            "codec": "fp32",
        },
        "cohort": {"fraction": 1.0, "availability": {"name": "uniform"}},
        "systems": {
            "stragglers": {"fraction": 0.0, "policy": "drop"},
            "client_dropout": 0.0,
            "speed": {"sigma": 0.0, "samples_per_second": 1000.0},
        },
        "evaluation": {
            "every": 1,
            "clients": "all",
            "min_client_samples": 30,
            "groups": {"rule": "auto", "thresholds": [20, 100], "shares": [75.0, 95.0]},
            "dissimilarity": False,
        },
        "runtime": {
            "backend": "auto",
            "workers": "auto",
            "threads": 1,
            "num_cpus": 1.0,
            "num_gpus": 0.0,
            "device": "auto",
            "vectorize": "auto",
            "chunk": "auto",
            "compile": False,
            "precision": "fp32",
        },
    }


def test_a_mapping_is_not_changed_by_loading_it() -> None:
    raw = least(data={"dataset": "table", "path": "x.npz"})
    before = copy.deepcopy(raw)
    from_mapping(raw, overrides=["strategy.name=fedprox", "data.label=z"])
    assert raw == before


def test_one_seed_stands_for_all_three() -> None:
    seed = from_mapping(least(seed=7)).seed
    assert (seed.partition, seed.init, seed.training) == (7, 7, 7)
    seed = from_mapping(least(seed={"training": 2})).seed
    assert (seed.partition, seed.init, seed.training) == (0, 0, 2)


def test_auto_update_is_what_the_strategy_asks_for() -> None:
    assert from_mapping(LEAST).client.update == StandardParams()
    proximal = from_mapping(least(strategy={"name": "fedprox", "mu": 0.3}))
    assert proximal.client.update == ProximalParams(mu=0.3)
    assert isinstance(proximal.strategy, FedProxParams)
    written = from_mapping(least(strategy="fedprox", client={"update": "standard"}))
    assert written.client.update == StandardParams()
    block = from_mapping(least(strategy="fedprox", client={"update": {"name": "auto"}}))
    assert block.client.update == ProximalParams(mu=1.0)


def test_a_component_is_its_parameter_model() -> None:
    scenario = from_mapping(least(strategy={"name": "feddisco", "a": 1}))
    assert scenario.strategy == FedDiscoParams(a=1.0)
    assert scenario.strategy.name == "feddisco"
    assert scenario.strategy.kwargs()["b"] == 0.1
    assert scenario.client.optimizer == SGDParams()


def test_a_block_without_a_name_means_the_default() -> None:
    assert from_mapping(least(client={"optimizer": {"lr": 0.5}})).client.optimizer == SGDParams(lr=0.5)


def test_local_steps_alone_leave_no_epochs() -> None:
    client = from_mapping(least(client={"local_steps": 7})).client
    assert (client.local_steps, client.local_epochs) == (7, None)
    assert "local_epochs" not in from_mapping(least(client={"local_steps": 7})).resolved()["client"]


def test_cohort_by_size_leaves_no_fraction() -> None:
    cohort = from_mapping(least(cohort={"size": 4})).cohort
    assert (cohort.size, cohort.fraction) == (4, None)


@pytest.mark.parametrize("clients", ["all", "cohort", 0, 12])
def test_who_evaluates(clients: str | int) -> None:
    assert from_mapping(least(evaluation={"clients": clients})).evaluation.clients == clients


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3"])
def test_devices(device: str) -> None:
    assert from_mapping(least(runtime={"device": device})).runtime.device == device


def test_an_address_that_is_not_given_is_left_out() -> None:
    assert from_mapping(LEAST).runtime.address is None
    assert "address" not in from_mapping(LEAST).resolved()["runtime"]
    assert from_mapping(least(runtime={"address": "auto"})).resolved()["runtime"]["address"] == "auto"


def test_scenarios_are_immutable() -> None:
    scenario = from_mapping(LEAST)
    for target, key in ((scenario, "rounds"), (scenario.client, "batch_size"), (scenario.strategy, "name")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(target, key, 1)


def test_the_model_can_be_built_without_a_file() -> None:
    assert Scenario.model_validate(least(strategy="fedprox")).client.update == ProximalParams()


@pytest.mark.parametrize("where", ["strategy", "model", "update", "loss", "optimizer"])
def test_own_components_get_an_absolute_file_and_keep_their_parameters(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.py").write_text("class Mine: pass\n")
    chosen = {"name": "./mine.py:Mine", "strength": 0.5, "layers": [1, 2]}
    outer = where in ("strategy", "model")
    raw = least(**{where: chosen}) if outer else least(client={where: chosen})
    scenario = from_mapping(raw, base=folder)
    found = getattr(scenario if outer else scenario.client, where)
    assert isinstance(found, CustomParams)
    assert found.name == f"{folder.resolve() / 'mine.py'}:Mine"
    assert found.kwargs() == {"strength": 0.5, "layers": [1, 2]}
    assert from_mapping(scenario.resolved(), base="/") == scenario


def test_an_own_rule_trains_with_the_standard_update(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine: pass\n")
    assert from_mapping(least(strategy="mine.py:Mine"), base=tmp_path).client.update == StandardParams()


def test_an_own_rule_without_parameters_is_a_name_and_a_module_path_stays(tmp_path: Path) -> None:
    found = from_mapping(least(strategy="my_package.rules.Mine"), base=tmp_path).strategy
    assert isinstance(found, CustomParams)
    assert (found.name, found.kwargs()) == ("my_package.rules.Mine", {})


def test_a_missing_own_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path, "name: x\nrounds: 1\ndata: digits\nmodel: logistic\nstrategy: {name: './gone.py:Mine'}\n"
    )
    with pytest.raises(UsageError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:5: strategy.name: got ./gone.py:Mine; no file './gone.py'")


def test_data_are_looked_for_beside_the_scenario_then_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, names in ((here, ["both.npz", "here.npz"]), (there, ["both.npz"])):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    monkeypatch.chdir(here)
    text = "name: x\nrounds: 1\nmodel: logistic\nstrategy: fedavg\ndata: {dataset: table, path: both.npz}\n"
    path = write(there, text)

    def found(*overrides: str) -> str:
        return str(load(path, overrides).resolved()["data"]["path"])

    assert found() == str(there / "both.npz")
    assert found("data.path=both.npz") == str(here / "both.npz")
    assert found("data.path=gone.npz") == str(here / "gone.npz")
    path.write_text(text.replace("both", "here"))
    assert found() == str(here / "here.npz")
    path.write_text(text.replace("both", "gone"))
    assert found() == str(there / "gone.npz")


def test_a_resolved_file_gives_an_equal_scenario(tmp_path: Path) -> None:
    (tmp_path / "yes.py").write_text("")
    scenario = from_mapping(
        least(
            name="1e-3",
            strategy={
                "name": "yes.py:No",
                "text": "1e-3",
                "other": "yes",
                "empty": "",
                "tiny": 1e-7,
                "n": 10**20,
            },
            data={"dataset": "table", "path": "päth: #1.npz", "features": ["1", "true", "~", "a: b"]},
            client={"optimizer": {"lr": 1e-5}},
        ),
        base=tmp_path,
    )
    again = load(write(tmp_path, scenario.to_yaml(), "resolved.yaml"))
    assert again == scenario
    assert again.to_yaml() == scenario.to_yaml()


def test_find_scenario_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_scenario("quickstart").name == "quickstart.yaml"
    (tmp_path / "quickstart").mkdir()
    assert find_scenario("quickstart").name == "quickstart.yaml"
    mine = write(tmp_path, "", "mine.yaml")
    assert find_scenario("mine.yaml").resolve() == mine
    assert find_scenario(mine) == mine


@pytest.mark.parametrize(
    ("source", "fragments"),
    [
        ("quikstart", ["no shipped scenario", "did you mean quickstart?", "own-images"]),
        ("quickstart.yaml", ["no such file", "did you mean quickstart?"]),
        ("folder/other.yaml", ["folder/other.yaml: no such file"]),
        ("folder", ["folder: no such file and no shipped scenario"]),
        ("", ["empty"]),
        (".", ["is a folder"]),
        ("x" * 5000, ["no usable path", "File name too long"]),
        ("~no-such-user/x.yaml", ["no usable path"]),
    ],
)
def test_what_is_not_found_is_answered_with_what_there_is(
    source: str, fragments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        find_scenario(source)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_an_installation_without_scenarios_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import fedbal

    monkeypatch.setattr(fedbal, "__file__", str(tmp_path / "fedbal" / "__init__.py"))
    with pytest.raises(UsageError, match="shipped scenarios are missing"):
        find_scenario("quickstart")


@pytest.mark.parametrize("inside", [True, False])
def test_scenarios_are_found_in_a_wheel_and_beside_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inside: bool
) -> None:
    import fedbal

    folder = tmp_path / "fedbal" / "scenarios" if inside else tmp_path / "scenarios"
    folder.mkdir(parents=True)
    (folder / "quickstart.yaml").write_text("# A comment.\n")
    monkeypatch.setattr(fedbal, "__file__", str(tmp_path / "fedbal" / "__init__.py"))
    assert find_scenario("quickstart") == folder.resolve() / "quickstart.yaml"
