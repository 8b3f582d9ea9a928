"""The score of a trial on validation rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sklearn.metrics import balanced_accuracy_score

import fedbal
from fedbal.comparison.tuning.score import on_validation_rows, validation_numbers
from fedbal.data.federation import load_federation
from fedbal.errors import RunError, UsageError
from fedbal.results import RunReader
from fedbal.sweep_worker import Federations
from fedbal.trained import open_trained
from tests.scenarios import blobs, digits

GLOBAL_COUNTS = "client.loss={name: balanced_softmax, prior: global}"


def reported_as_validation(block, seed):
    federation = load_federation(block, seed)
    return replace(federation, validation=federation.client_test)


@pytest.mark.parametrize(
    "scenario",
    [
        digits("rounds=2"),
        digits("rounds=2", "strategy=local_only"),
        digits("rounds=2", "strategy=fedavg_finetuned", GLOBAL_COUNTS),
        digits("rounds=2", "strategy=centralised"),
        digits("rounds=2", "data.preprocess={scale: standard, fit: client}"),
        digits(
            "rounds=2", "data.holdout_clients=0.25", "data.feature_shift={name: gaussian_noise, std: 0.5}"
        ),
        blobs("rounds=1"),
    ],
    ids=["global", "own models", "made when evaluated", "pooled", "prepared", "shifted", "masks"],
)
def test_scores_are_those_of_a_run_whose_clients_have_these_rows_as_test_rows(tmp_path, scenario):
    # With the client test rows in place of the validation rows the scores must be the run's own at its end.
    fedbal.run(scenario, tmp_path / "run")
    found = validation_numbers(tmp_path / "run", Federations(reported_as_validation))
    last = RunReader(tmp_path / "run").rounds()[-1]
    for ours, theirs in (("received", "fairness"), ("personal", "personal")):
        expected = None if last[theirs] is None else last[theirs]["final"]
        if expected is None:
            assert found[ours] is None
            continue
        for name, value in found[ours].items():
            assert value == expected[f"pooled_{name}"], name
    assert found["samples"] >= last["fairness"]["final"]["pooled_n"]


def test_the_global_model_is_scored_on_validation_rows_and_no_other(tmp_path):
    scenario = digits("rounds=2", "data.validation=0.2")
    result = fedbal.run(scenario, tmp_path / "run")
    found = validation_numbers(result.directory, Federations())
    federation = load_federation(scenario.data, scenario.seed.partition)
    rows = federation.validation.indices
    predicted = open_trained(result.directory).logits(federation.dataset.x[rows]).argmax(1)
    expected = balanced_accuracy_score(federation.dataset.y[rows], predicted)
    assert found["received"]["balanced_accuracy"] == pytest.approx(expected)
    assert found["samples"] == found["received"]["n"] == len(rows)
    assert not len(on_validation_rows(federation).validation.indices)
    assert not set(on_validation_rows(federation).client_test.indices) & set(federation.client_test.indices)


def test_a_score_is_measured_once(tmp_path):
    fedbal.run(digits("rounds=1"), tmp_path / "run")
    first = validation_numbers(tmp_path / "run", Federations())
    (tmp_path / "run" / "model.safetensors").unlink()

    def never(block, seed):
        raise AssertionError("measured again")

    assert validation_numbers(tmp_path / "run", Federations(never)) == first
    (tmp_path / "run" / "validation.json").write_text("{")
    with pytest.raises(RunError, match=r"validation\.json is damaged"):
        validation_numbers(tmp_path / "run", Federations(never))


def test_without_validation_rows_the_message_says_what_to_raise(tmp_path):
    fedbal.run(digits("rounds=1", "data.validation=0"), tmp_path / "run")
    with pytest.raises(UsageError, match=r"no client has any; raise data\.validation"):
        validation_numbers(tmp_path / "run", Federations())
