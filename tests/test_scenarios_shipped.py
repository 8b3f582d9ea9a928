"""The shipped scenarios: valid, complete, explained, and their data made as their comments say."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from fedbal.data.federation import load_federation
from fedbal.scenario import find_scenario, json_schema, load, shipped
from fedbal.scenario_files import folder
from fedbal.yaml_source import read

EXPECTED = {
    "quickstart",
    "long-tail",
    "fedprox-synthetic",
    "fedbr",
    "feddisco-niid1",
    "feddisco-niid2",
    "stragglers",
    "natural-clients",
    "own-images",
    "uniform",
    "fedavgm",
    "fedadam",
    "fedyogi",
    "fedadagrad",
    "fednova",
    "scaffold",
    "feddyn",
    "moon",
    "qfedavg",
    "fedce",
    "fedce-blobs",
    "imbalance-losses",
    "fedlc",
    "fedrs",
    "reference-rows",
}
NAMES = [name for name, _ in shipped()]

QUICKSTART = """
name: quickstart
seed: 0
rounds: 20
data:
  dataset: digits
  long_tail: {profile: exponential, imbalance_factor: 10, order: index}
  partition: {name: dirichlet, clients: 20, alpha: 0.3}
  validation: 0.1
  client_test: 0.1
model: {name: mlp, hidden: [64]}
strategy: {name: feddisco, a: 0.5, b: 0.1}
client:
  update: auto
  loss: cross_entropy
  local_epochs: 5
  batch_size: 10
  optimizer: {name: sgd, lr: 0.1, momentum: 0.0, weight_decay: 0.0}
cohort: {fraction: 0.5}
systems: {stragglers: {fraction: 0.0, policy: drop}, client_dropout: 0.0}
evaluation: {every: 1, clients: all, min_client_samples: 30}
runtime: {backend: auto, workers: auto, threads: 1, num_cpus: 1, num_gpus: 0, device: auto}
"""


def comment_script(path: Path) -> str:
    """Return the Python lines of a scenario's comment."""
    lines = path.read_text().splitlines()
    return "\n".join(
        line.removeprefix("#   ") for line in lines if line.startswith("#   ") and "--set" not in line
    )


def test_every_promised_scenario_is_there_quickstart_first() -> None:
    assert set(NAMES) == EXPECTED
    assert NAMES[0] == "quickstart"


def test_quickstart_is_the_documented_block() -> None:
    written = read(find_scenario("quickstart")).value
    # What is compared on it is no part of a run.
    assert {key: value for key, value in written.items() if key != "compare"} == yaml.safe_load(QUICKSTART)


@pytest.mark.parametrize("name", NAMES)
def test_file_and_name_agree_and_the_comment_says_what_it_shows(name: str) -> None:
    path = find_scenario(name)
    first, second = path.read_text().splitlines()[:2]
    assert first == "# yaml-language-server: $schema=scenario.schema.json"
    assert second == f"# {dict(shipped())[name]}"
    assert 40 < len(second) < 125
    assert load(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_the_resolved_scenario_is_the_same_scenario(name: str, tmp_path: Path) -> None:
    scenario = load(name)
    path = tmp_path / "scenario.yaml"
    path.write_text(scenario.to_yaml())
    assert load(path) == scenario.model_copy(update={"compare": None})
    assert yaml.safe_load(scenario.to_yaml()) == scenario.resolved()


@pytest.mark.parametrize("name", NAMES)
def test_changes_that_its_comment_offers_are_valid(name: str) -> None:
    for line in find_scenario(name).read_text().splitlines():
        if line.startswith("#   --set "):
            # Two spaces end the changes and begin what they show.
            words = shlex.split(line.removeprefix("#   ").partition("  ")[0])
            assert words[::2] == ["--set"] * (len(words) // 2)
            load(name, words[1::2])


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_accepts_it(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(read(find_scenario(name)).value, json_schema(), jsonschema.Draft202012Validator)


def test_the_schema_beside_the_scenarios_is_up_to_date() -> None:
    stored = json.loads((folder() / "scenario.schema.json").read_text())
    assert stored == json_schema(), "run: fedbal schema > scenarios/scenario.schema.json"


@pytest.mark.parametrize(
    "name", ["quickstart", "long-tail", "stragglers", "natural-clients", "fedprox-synthetic"]
)
def test_its_data_can_be_divided_without_a_download(name: str) -> None:
    scenario = load(name)
    federation = load_federation(scenario.data, scenario.seed.partition)
    assert federation.num_clients == {"long-tail": 10, "natural-clients": 4, "fedprox-synthetic": 30}.get(
        name, 20
    )
    assert (federation.train.sizes > 0).all()


def test_fedprox_synthetic_has_the_papers_sizes() -> None:
    scenario = load("fedprox-synthetic")
    federation = load_federation(scenario.data, scenario.seed.partition)
    assert int(federation.train.sizes.sum()) == 20_101
    assert len(federation.dataset.y_test) == 2_248


def test_the_clinics_are_what_the_script_in_the_comment_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = find_scenario("natural-clients")
    monkeypatch.chdir(tmp_path)
    exec(compile(comment_script(path), str(path), "exec"), {})
    assert (tmp_path / "clinics.csv").read_text() == (path.parent / "clinics.csv").read_text()


def test_own_images_reads_what_the_script_in_the_comment_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    for number in range(60):
        place = tmp_path / "images" / ("cats" if number % 3 else "dogs")
        place.mkdir(parents=True, exist_ok=True)
        image.new("RGB", (20 + number, 30), (number, 2 * number, 0)).save(place / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    path = find_scenario("own-images")
    exec(compile(comment_script(path), str(path), "exec"), {})
    scenario = load("own-images")
    assert scenario.resolved()["data"]["path"] == str(tmp_path / "my_images.npz")
    federation = load_federation(scenario.data, 0)
    assert federation.dataset.input_shape == (3, 32, 32)
    assert federation.dataset.classes == ("cats", "dogs")
    assert federation.num_clients == 8
