"""FedAvg with fine-tuned clients: the reference row, and the scores that every run keeps of its final model."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from clients.finetuned import FineTuned
from fedbal.assembly import assemble
from fedbal.errors import RunError
from fedbal.final_clients import FinalScore, read_final
from fedbal.observer import Silent
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from fedbal.systems import DROPOUT, Directive, Systems
from tests.scenarios import blobs, digits, sha256

CHANGES = ("data.client_test=0.3", "evaluation.min_client_samples=1", "cohort.fraction=1.0")
TUNED = "strategy=fedavg_finetuned"


class Stop(Exception):
    """Ends a run from an observer."""


class StopBeforeTheLast(Silent):
    def round_finished(self, row):
        if row["round"] == 3:
            raise Stop


def tuned_by_hand(scenario, server_round, received):
    """Train every client from a model with torch and return right predictions and test rows of each."""
    assembly = assemble(scenario, "cpu")
    data_of, plan = assembly.clients.data_of(), assembly.clients.plan
    network = assembly.clients.network()
    found = {}
    for client in range(assembly.federation.num_clients):
        data = data_of.client(client)
        network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in received.items()})
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        x, y = next(iter(data.train.batches(10_000)))
        for batch in plan.minibatches(0, data.key, server_round, len(data.train)):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
        if len(data.test):
            x, y = next(iter(data.test.batches(10_000)))
            with torch.no_grad():
                found[data.key] = (int((network(x).argmax(1) == y).sum()), len(y))
    return found


def test_a_personal_model_is_the_received_one_after_a_round_of_local_training(tmp_path):
    from safetensors.numpy import load_file

    scenario = digits(TUNED, *CHANGES)
    run(scenario, tmp_path / "run")
    final = load_file(tmp_path / "run" / "model.safetensors")
    expected = tuned_by_hand(scenario, scenario.rounds, final)
    found = read_final(tmp_path / "run")
    assert len(expected) > 5
    assert {key: score.samples for key, score in found.items()} == {
        key: n for key, (_, n) in expected.items()
    }
    for key, (right, n) in expected.items():
        assert found[key].personal == pytest.approx(right / n), key
    personal = RunReader(tmp_path / "run").rounds()[-1]["personal"]["final"]
    assert personal["mean"] == pytest.approx(np.mean([score.personal for score in found.values()]))


def test_the_global_model_is_that_of_fedavg(tmp_path):
    for name, changes in {"fedavg": ("strategy=fedavg",), "tuned": (TUNED,)}.items():
        run(digits(*changes, *CHANGES[:2]), tmp_path / name)
    one, two = (RunReader(tmp_path / name) for name in ("fedavg", "tuned"))
    assert sha256(one.path / "model.safetensors") == sha256(two.path / "model.safetensors")
    for left, right in zip(one.rounds(), two.rounds(), strict=True):
        for part in ("test", "train", "fairness", "bytes_up", "bytes_down"):
            assert left[part] == right[part]
    keys = ("partition", "initial", "cohorts", "batches", "engine")
    assert {key: one.fingerprints[key] for key in keys} == {key: two.fingerprints[key] for key in keys}


@pytest.mark.parametrize(("share", "tuned"), [(0.1, [4]), (0.5, [3, 4]), (1.0, [1, 2, 3, 4])])
def test_clients_fine_tune_in_the_last_rounds_alone(tmp_path, share, tuned):
    run(digits(f"strategy={{name: fedavg_finetuned, share: {share}}}", *CHANGES[:2]), tmp_path / "run")
    rows = RunReader(tmp_path / "run").rounds()
    assert [row["round"] for row in rows if row["personal"] is not None] == tuned
    assert rows[-1]["personal"]["final"]["model_round"] == 4


@pytest.mark.parametrize("share", [0.0, 1.1, -0.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\]"):
        FineTuned(None, share)


def test_a_resumed_run_has_the_same_scores(tmp_path):
    scenario = digits(TUNED, *CHANGES[:2])
    run(scenario, tmp_path / "whole")
    with pytest.raises(Stop):
        run(scenario, tmp_path / "part", observer=StopBeforeTheLast())
    assert not (tmp_path / "part" / "final_clients.csv").exists()
    resume(tmp_path / "part")
    for name in ("final_clients.csv", "model.safetensors"):
        assert sha256(tmp_path / "part" / name) == sha256(tmp_path / "whole" / name)


def test_a_loss_that_reads_everyones_class_counts_can_be_fine_tuned_with(tmp_path):
    loss = "client.loss={name: logit_adjustment, prior: global}"
    run(digits(TUNED, loss, "rounds=2", *CHANGES[:2]), tmp_path / "run")
    scores = read_final(tmp_path / "run").values()
    assert scores
    assert all(score.personal is not None for score in scores)


def test_masks_can_be_fine_tuned(tmp_path):
    run(blobs(TUNED, "rounds=2"), tmp_path / "run")
    with (tmp_path / "run" / "final_clients.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    final = RunReader(tmp_path / "run").rounds()[-1]
    assert [float(row["dice"]) for row in rows]
    assert np.mean([float(row["personal_dice"]) for row in rows]) == pytest.approx(
        final["personal"]["final"]["mean"]
    )


def test_every_run_keeps_the_scores_of_its_final_model(tmp_path):
    run(digits(*CHANGES[:2], "rounds=2"), tmp_path / "run")
    scores = read_final(tmp_path / "run")
    final = RunReader(tmp_path / "run").rounds()[-1]["fairness"]["final"]
    assert {score.personal for score in scores.values()} == {None}
    assert np.mean([score.received for score in scores.values()]) == pytest.approx(final["mean"])
    sizes = [score.samples for score in scores.values()]
    assert sum(sizes) == final["pooled_n"]
    assert np.average([score.received for score in scores.values()], weights=sizes) == pytest.approx(
        final["pooled_accuracy"]
    )


def test_a_run_whose_clients_do_not_evaluate_has_no_such_file(tmp_path):
    run(digits("evaluation.clients=0", "rounds=1"), tmp_path / "run")
    assert not (tmp_path / "run" / "final_clients.csv").exists()
    assert read_final(tmp_path / "run") == {}


def test_a_table_of_final_scores_that_is_damaged_is_named(tmp_path):
    header = "client,test_samples,accuracy,personal_accuracy\n"
    (tmp_path / "final_clients.csv").write_text(f'{header}"a, b",3,0.5,\n')
    assert read_final(tmp_path) == {"a, b": FinalScore(3, 0.5, None)}
    (tmp_path / "final_clients.csv").write_text(f"{header}a,three,0.5,\n")
    with pytest.raises(RunError, match=r"final_clients\.csv is damaged"):
        read_final(tmp_path)


def test_client_seconds_add_up_what_clients_do():
    systems = Systems(0, units=4, work=np.array([100.0, 200.0, 400.0]), speeds=np.array([10.0, 10.0, 20.0]))
    everyone = {0: Directive(), 1: Directive(), 2: Directive()}
    assert systems.client_seconds(everyone) == pytest.approx(10 + 20 + 20)
    late = {0: Directive(work=1), 1: Directive(work=2, excluded="straggler"), 2: Directive(excluded=DROPOUT)}
    assert systems.client_seconds(late) == pytest.approx(2.5 + 10)
    assert systems.client_seconds({}) == 0.0
