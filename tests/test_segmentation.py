"""Masks in whole runs: FedCE on Dice, every rule that can, the same bytes everywhere, refusals of the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from clients import LOSSES, UPDATES
from clients.losses import Loss
from fedbal.assembly import assemble
from fedbal.cli import app
from fedbal.errors import UsageError
from fedbal.measures.segmentation import overlap
from fedbal.observer import Silent
from fedbal.predict import evaluate
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from fedbal.trained import open_trained
from strategies import STRATEGIES
from strategies.base import AggregationRule
from tests.scenarios import blobs, digits, sha256

BY_CLASS = {"feddisco", "moon", "fedbr"}
GENTLE = {"fedadam": "{name: fedadam, lr: 0.01}", "fedyogi": "{name: fedyogi, lr: 0.01}"}


class Stop(Exception):
    """Ends a run from an observer."""


class StopAfterTwo(Silent):
    def round_finished(self, row):
        if row["round"] == 2:
            raise Stop


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("masks") / "run"
    run(blobs("rounds=10", "client.local_epochs=2", "client.optimizer={name: adam, lr: 0.02}"), path)
    return path


def test_fedce_learns_masks_and_writes_dice_in_place_of_accuracy(finished):
    reader = RunReader(finished)
    first, *_, last = reader.rounds()
    assert last["test"]["dice"] > max(0.5, first["test"]["dice"])
    keys = {"samples", "dice", "iou", "per_class_dice", "per_class_iou", "loss"}
    assert set(last["test"]) == set(reader.summary()["final"]) == keys
    assert reader.summary()["best"]["dice"] == max(row["test"]["dice"] for row in reader.rounds())
    spread = last["fairness"]["final"]
    assert spread["clients"] == 4
    assert spread["worst_10_percent"] <= spread["mean"] <= spread["best_10_percent"]
    rows = reader.clients()
    assert all(row["status"] == "ok" and "received_accuracy" not in row for row in rows)
    assert all(0.0 <= row["received_dice"] <= 1.0 for row in rows)
    assert len({round(row["weight"], 6) for row in rows if row["round"] == 10}) > 1
    header, *lines = (finished / "clients.csv").read_text().splitlines()
    assert header == "client,train,validation,client_test,samples_per_second,foreground"
    assert [line.split(",")[0] for line in lines] == ["site-0", "site-1", "site-2", "site-3"]
    stored = json.loads((finished / "heterogeneity.json").read_text())
    assert (stored["classes"], stored["imbalance_factor"]) == ([], None)


def test_the_score_that_fedce_gets_is_one_minus_mean_dice_of_the_minus_model(finished):
    rows = {(row["round"], row["client"]): row["score"] for row in RunReader(finished).clients()}
    assert {rows[1, f"site-{site}"] for site in range(4)} == {1.0}
    for site in range(4):
        # Each mean has one more value in [0, 1] than the one of the round before.
        for number in range(2, 11):
            total = number * (1 - rows[number, f"site-{site}"])
            before = (number - 1) * (1 - rows[number - 1, f"site-{site}"])
            assert -1e-9 <= total - before <= 1 + 1e-9


def test_evaluate_is_dice_of_the_models_own_masks(finished):
    trained, scenario = open_trained(finished), RunReader(finished)
    dataset = assemble(blobs(), "cpu").federation.dataset
    logits = trained.logits(dataset.x_test)
    assert logits.shape == (12, 2, 16, 16)
    dice, iou = overlap(logits.argmax(1), dataset.y_test, 2)
    found = evaluate(finished)
    assert found["dice"] == pytest.approx(dice.mean(), abs=1e-12)
    assert found["iou"] == pytest.approx(iou.mean(), abs=1e-12)
    assert found["dice"] == pytest.approx(scenario.summary()["final"]["dice"], abs=1e-3)


def test_ray_gives_the_bytes_of_one_process(tmp_path):
    pytest.importorskip("ray")
    run(blobs(), tmp_path / "one")
    run(blobs("runtime={backend: ray, workers: 2}"), tmp_path / "ray")
    assert sha256(tmp_path / "one" / "model.safetensors") == sha256(tmp_path / "ray" / "model.safetensors")
    volatile = ("seconds",)
    pairs = zip(
        *(
            RunReader(tmp_path / name).clients() + RunReader(tmp_path / name).rounds()
            for name in ("one", "ray")
        ),
        strict=True,
    )
    for left, right in pairs:
        assert {k: v for k, v in left.items() if k not in volatile} == {
            k: v for k, v in right.items() if k not in volatile
        }


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in BY_CLASS])
def test_every_other_rule_runs_and_resumes_with_the_same_bytes(tmp_path, name):
    scenario = blobs(f"strategy={GENTLE.get(name, name)}", "data.images=8", "evaluation.every=3")
    run(scenario, tmp_path / "whole")
    assert {row["reason"] for row in RunReader(tmp_path / "whole").clients()} == {None}
    assert 0.0 <= RunReader(tmp_path / "whole").summary()["final"]["dice"] <= 1.0
    with pytest.raises(Stop):
        run(scenario, tmp_path / "part", observer=StopAfterTwo())
    resume(tmp_path / "part")
    assert sha256(tmp_path / "part" / "model.safetensors") == sha256(tmp_path / "whole" / "model.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        ("client.loss=cross_entropy",),
        ("client.loss=focal",),
        ("client.loss=dice", "client.augment={crop_padding: 2, horizontal_flip: true}"),
        ("data.partition={name: iid, clients: 3}", "data.quantity=lognormal"),
        ("data.feature_shift=brightness", "data.preprocess={scale: standard}"),
        ("evaluation.dissimilarity=true", "strategy={name: fedprox, mu: 0.1, inexactness: true}"),
        ("data.holdout_clients=[site-1]", "cohort.availability=size_proportional"),
        ("strategy={name: fedce, score: iou}", "systems.client_dropout=0.3"),
    ],
    ids=str,
)
def test_other_axes_run_on_masks(tmp_path, changes):
    run(blobs("rounds=2", *changes), tmp_path / "run")
    assert RunReader(tmp_path / "run").summary()["final"]["loss"] is not None


def test_personal_models_are_measured_by_dice(tmp_path):
    run(blobs("strategy=local_only"), tmp_path / "run")
    personal = RunReader(tmp_path / "run").rounds()[-1]["personal"]["final"]
    assert 0.0 <= personal["pooled_dice"] <= 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "data.partition={name: dirichlet, clients: 3}",
            r"data.partition: got dirichlet; .*choose iid, natural_id\.",
        ),
        ("data.partition=shards", r"data.partition: got shards; .*choose iid, natural_id\."),
        ("data.long_tail.imbalance_factor=10", r"data.long_tail: this is for classification.*leave it out"),
        ("data.label_noise.rate=0.1", r"data.label_noise: this is for classification"),
        ("data.feature_shift=rotation", r"got rotation; .*choose gaussian_noise, brightness"),
        ("model=cnn", r"model: got cnn; .*choose unet"),
        ("strategy=feddisco", r"strategy: got feddisco; .*choose fedavg"),
        (
            "strategy={name: fedavg, weighting: feddisco}",
            r"strategy.weighting: got feddisco; .*choose samples, uniform\.",
        ),
        ("strategy=moon", r"strategy: got moon"),
        ("strategy=fedbr", r"strategy: got fedbr"),
        ("strategy={name: fedce, score: accuracy}", r"fedce with these parameters is for classification"),
        ("client.update={name: contribution, metric: accuracy}", r"contribution with these parameters"),
        (
            "client.loss=balanced_softmax",
            r"client.loss: got balanced_softmax; .*choose cross_entropy, focal, dice",
        ),
        ("client.loss=fedlc", r"client.loss: got fedlc"),
        ("client.loss=fedrs", r"client.loss: got fedrs"),
        ("client.loss=class_balanced", r"client.loss: got class_balanced"),
        ("evaluation.posthoc.tau=1.0", r"evaluation.posthoc: this is for classification"),
        ("evaluation.groups.rule=counts", r"evaluation.groups: this is for classification"),
        (
            "cohort.availability=label_correlated",
            r"got label_correlated; .*choose uniform, size_proportional",
        ),
    ],
    ids=lambda value: value if "=" in value else "",
)
def test_what_needs_a_class_a_row_is_refused(change, message):
    with pytest.raises(UsageError, match=message) as caught:
        blobs(change)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change", ["model=unet", "client.loss=dice", "strategy={name: fedce, score: dice}"], ids=str
)
def test_what_needs_masks_is_refused_on_classes(change):
    with pytest.raises(UsageError, match=r"for segmentation, and the data set digits is for classification"):
        digits(change)


def test_every_shipped_update_and_loss_says_what_it_is_for():
    both = [UPDATES.params_model(name) for name in UPDATES] + [LOSSES.params_model(name) for name in LOSSES]
    assert all(set(model().for_tasks()) <= {"classification", "segmentation"} for model in both)
    assert LOSSES.params_model("dice")().for_tasks() == ("segmentation",)


def test_rules_of_ones_own_that_ask_for_label_counts_are_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from strategies.base import AggregationRule\n"
        "class Counting(AggregationRule):\n"
        "    requests = ('label-counts',)\n"
    )
    with pytest.raises(
        UsageError, match=r"asks clients for label-counts, and masks \(segmentation\) have none"
    ):
        assemble(blobs(f"strategy={path}:Counting"), "cpu")
    assert issubclass(AggregationRule, object)


def test_losses_of_ones_own_that_read_class_counts_are_refused(tmp_path):
    path = tmp_path / "loss.py"
    path.write_text(
        "from clients.losses import CrossEntropy\n"
        "class Counting(CrossEntropy):\n"
        "    def prior(self, counts):\n"
        "        return counts\n"
    )
    with pytest.raises(UsageError, match=r"reads class counts, and masks \(segmentation\) have none"):
        assemble(blobs(f"client.loss={path}:Counting"), "cpu")
    assert Loss().prior(torch.ones(2)) is None


def test_class_counts_of_masks_are_an_error():
    data_of = assemble(blobs(), "cpu").clients.data_of()
    with pytest.raises(ValueError, match="masks"):
        data_of.client(0).train.label_counts(2)


def test_commands_around_a_run(finished, tmp_path):
    shown = call("show", str(finished))
    assert shown.exit_code == 0
    assert "Dice" in shown.output
    assert "accuracy" not in shown.output
    explained = call("explain", str(finished))
    assert explained.exit_code == 0
    assert "test Dice" in explained.output
    assert call("evaluate", str(finished)).exit_code == 0
    refused = {
        ("predict", str(finished), "--data", "x.npz", "--out", str(tmp_path / "p.csv")): "class a row",
        ("export", str(finished), "--format", "torchscript"): "masks",
        ("evaluate", str(finished), "--data", "x.csv"): "class a row",
        ("partition", "fedce-blobs", "--plot", str(tmp_path / "p.png")): "leave --plot out",
    }
    for arguments, word in refused.items():
        result = call(*arguments)
        assert result.exit_code == 2, arguments
        assert word in result.output
    divided = call("partition", "fedce-blobs")
    assert divided.exit_code == 0
    assert "foreground" in divided.output


def test_contributions_are_measured_by_dice(tmp_path):
    from fedbal.contribution.compute import Options, contribution

    scenario = blobs("rounds=1", "data.sites=2", "data.noisy_sites=[1]", "data.images=8")
    found = contribution(scenario, Options(repeats=1), tmp_path / "worth")
    assert found["metric"] == "dice"
    assert found["shapley"] == pytest.approx(np.array(found["shapley"]))
    assert sum(found["shapley"]) == pytest.approx(found["everyone"] - found["nobody"])
    with pytest.raises(UsageError, match=r"--metric: the score 'accuracy' does not exist for segmentation"):
        contribution(scenario, Options(metric="accuracy"), tmp_path / "other")
