"""A machine's own table of costs: read, refused, used, and remembered by its hash."""

from __future__ import annotations

import hashlib
import json

import pytest

from fedbal.assembly import assemble
from fedbal.cost_file import digest, read_costs, render
from fedbal.costs import COSTS, Cost, best
from fedbal.errors import UsageError
from fedbal.scenario import load
from fedbal.simulation import resume, run
from tests.scenarios import digits, sha256

OWN = (Cost("cpu", ("dense",), 5_000, 3, 2), Cost("cpu", ("dense", "convolutional"), 90_000, 1, 2))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "costs.yaml"
    path.write_text(render(OWN, ["a machine", "torch"]))
    return path


def test_what_is_written_is_read(file):
    rows = read_costs(str(file))
    assert rows[:2] == OWN
    assert rows[2:] == tuple(row for row in COSTS if row.device == "cuda")
    assert file.read_text().startswith("# a machine\n# torch\ncosts:\n")
    assert best("cpu", "dense", 4_810, 100, rows) == 3
    assert best("cpu", "convolutional", 4_810, 100, rows) is None
    assert best("cuda", "dense", 4_810, 100, rows) == best("cuda", "dense", 4_810, 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("costs: []", "costs: List should have at least 1 item"),
        ("costs: [{device: tpu}]", "costs.0.device: Input should be 'cpu' or 'cuda'"),
        ("costs: [{device: cpu, layers: [dense], parameters: 5, chunk: 0, fewest: 2}]", "costs.0.chunk"),
        ("costs: [{device: cpu, layers: [dense], parameters: 5, chunk: 2.5, fewest: 2}]", "costs.0.chunk"),
        ("rounds: 3", "costs: Field required"),
        ("[1, 2", "costs.yaml"),
    ],
)
def test_anything_else_is_one_message(tmp_path, text, message):
    path = tmp_path / "costs.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as info:
        read_costs(str(path))
    assert message in str(info.value)
    assert "\n" not in str(info.value)


def test_a_missing_file_says_how_to_write_one(tmp_path):
    for overrides in ((), ("runtime.vectorize=false",)):
        scenario = digits(f"runtime.costs={tmp_path / 'none.yaml'}", *overrides)
        with pytest.raises(UsageError, match=r"none.yaml cannot be read.*fedbal calibrate --out"):
            assemble(scenario, "cpu")


def test_the_file_decides_and_its_hash_stays_with_the_run(file, tmp_path):
    scenario = digits(f"runtime.costs={file}", "cohort.fraction=1.0")
    known = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    result = run(scenario, tmp_path / "run")
    engine = json.loads((result.directory / "fingerprints.json").read_text())["engine"]
    assert (engine["kind"], engine["chunk"], engine["costs"]) == ("vectorized", 3, known)
    resolved = load(result.directory / "scenario.yaml")
    assert resolved.runtime.costs == known
    file.unlink()
    again = run(resolved, tmp_path / "again")
    assert sha256(again.directory / "model.safetensors") == sha256(result.directory / "model.safetensors")
    assert json.loads((again.directory / "fingerprints.json").read_text())["engine"] == engine
    assert resume(result.directory).status == "finished"


def test_a_hash_chooses_nothing(file):
    with pytest.raises(
        UsageError, match="the hash of a file that has chosen an engine; give the file itself"
    ):
        assemble(digits(f"runtime.costs={digest(str(file))}"), "cpu")


def test_a_scenario_names_a_file_beside_itself(file, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    path = tmp_path / "own.yaml"
    text = digits().to_yaml()
    path.write_text(text.replace("runtime:\n", "runtime:\n  costs: costs.yaml\n"))
    assert load(path).runtime.costs == str(file)


def test_without_a_file_nothing_is_recorded(tmp_path):
    assert "costs" not in assemble(digits(), "cpu").engine
