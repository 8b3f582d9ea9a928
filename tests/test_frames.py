"""Results in Python: data frames, the trained model, scenarios changed by keywords."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fedbal
from fedbal.errors import UsageError
from fedbal.frames import flatten
from fedbal.results import RunReader
from fedbal.trained import open_trained
from tests.scenarios import DIGITS, digits


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return fedbal.run(digits("rounds=2"), tmp_path_factory.mktemp("frames") / "run")


def test_nested_objects_become_dotted_columns():
    row = {"round": 1, "test": {"accuracy": 0.5, "groups": {"few": [1]}}, "personal": None}
    assert flatten(row) == {"round": 1, "test.accuracy": 0.5, "test.groups.few": [1], "personal": None}


def test_rounds_are_a_data_frame(result):
    rows = RunReader(result.directory).rounds()
    assert list(result.rounds["round"]) == [1, 2]
    assert list(result.rounds["test.accuracy"]) == [row["test"]["accuracy"] for row in rows]
    assert result.rounds["test.accuracy"].dtype == np.float64


def test_clients_are_a_data_frame(result):
    frame = result.clients
    assert len(frame) == len(RunReader(result.directory).clients()) == 8
    sums = frame.groupby("round")["weight"].sum()
    np.testing.assert_allclose(sums, 1.0)


def test_without_pandas_the_message_names_the_extra(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pip install 'fedbal\[report\]'"):
        _ = result.rounds


def test_the_model_has_the_trained_weights_and_the_summarys_accuracy(result):
    from fedbal.data.federation import load_federation

    model = result.model()
    assert not model.training
    dataset = load_federation(digits().data, 0).dataset
    with torch.no_grad():
        x = torch.from_numpy(dataset.x_test).float() / dataset.scaling.divide
        predicted = model(x).argmax(1).numpy()
    assert (predicted == dataset.y_test).mean() == pytest.approx(
        result.summary["final"]["accuracy"], abs=1e-9
    )


def test_an_opened_run_is_the_run(result):
    opened = fedbal.open_run(str(result.directory))
    assert opened.summary == RunReader(result.directory).summary()
    assert opened.status == "finished"
    assert opened.rounds.equals(result.rounds)
    for name, value in opened.model().state_dict().items():
        assert torch.equal(value, result.model().state_dict()[name])


def test_an_unfinished_run_opens_without_a_model(result, tmp_path):
    half = tmp_path / "half"
    half.mkdir()
    for name in ("scenario.yaml", "rounds.jsonl", "clients.jsonl", "fingerprints.json"):
        (half / name).write_bytes((result.directory / name).read_bytes())
    opened = fedbal.open_run(half)
    assert opened.status == "interrupted"
    assert len(opened.rounds) == 2
    with pytest.raises(UsageError, match="no model yet"):
        opened.model()


def test_the_model_is_refused_where_it_does_not_fit(result, tmp_path):
    from safetensors.numpy import save_file

    from fedbal.errors import RunError

    other = tmp_path / "other"
    other.mkdir()
    for name in ("scenario.yaml", "fingerprints.json"):
        (other / name).write_bytes((result.directory / name).read_bytes())
    save_file({"w": np.zeros(3, np.float32)}, other / "model.safetensors")
    with pytest.raises(RunError, match="does not fit the model"):
        open_trained(other)


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        ([["rounds=3", "strategy=fedprox", "strategy.mu=0.00001"]], {}),
        ([{"rounds": 3, "strategy": "fedprox", "strategy.mu": 1e-5}], {}),
        ([], {"rounds": 3, "strategy": "fedprox", "strategy__mu": 1e-5}),
        ([], {"rounds": np.int64(3), "strategy": {"name": "fedprox", "mu": np.float64(1e-5)}}),
        ([["rounds=3"]], {"strategy": "fedprox", "strategy__mu": 1e-5}),
    ],
    ids=["texts", "dictionary", "keywords", "numpy and block", "both"],
)
def test_every_way_to_change_a_scenario_is_the_same(arguments, keywords):
    wanted = fedbal.load("quickstart", ["rounds=3", "strategy={name: fedprox, mu: 1.0e-5}"])
    assert fedbal.load("quickstart", *arguments, **keywords) == wanted


@pytest.mark.parametrize("value", ["no", "1.0", "a: b", "x # y", "{", "été", "", " blank "])
def test_texts_stay_texts(value, tmp_path):
    path = tmp_path / "data.csv"
    scenario = fedbal.load("quickstart", data={"dataset": "table", "path": path, "label": value or "y"})
    assert scenario.data.label == (value or "y")
    assert scenario.data.path == str(path)


def test_a_wrong_change_is_one_message_with_its_key():
    with pytest.raises(UsageError, match=r"strategy\.a: got -1"):
        fedbal.load("quickstart", strategy__a=-1)
    with pytest.raises(UsageError, match="give a list of texts, or a dictionary"):
        fedbal.load("quickstart", "rounds=3")
    with pytest.raises(UsageError, match="cannot stand in a scenario"):
        fedbal.load("quickstart", rounds=object())


def test_run_takes_a_dictionary_of_changes(tmp_path: Path):
    result = fedbal.run(DIGITS, tmp_path / "run", overrides={"rounds": 1, "cohort.fraction": 0.25})
    assert result.summary["rounds"] == 1
    assert len(result.clients) == 2
