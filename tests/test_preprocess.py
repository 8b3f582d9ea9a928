"""Preprocessing, feature shift and label noise in whole runs: messages, bytes, resuming, backends."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Error, Message, RecordDict

from clients.preprocess import Moments, Preprocess, Transform
from fedbal import protocol
from fedbal.checkpoint import load as load_checkpoint
from fedbal.cli_partition import show_partition
from fedbal.data.federation import load_federation
from fedbal.data.heterogeneity import describe
from fedbal.errors import RunError, UsageError
from fedbal.grid import flower
from fedbal.population import Population
from fedbal.preprocess import Fitted, fit, mean_transform
from fedbal.results import RunReader
from fedbal.scenario import from_mapping
from fedbal.seeding import stream
from fedbal.simulation import resume, run
from tests.scenarios import digits, sha256

ROOT = Path(__file__).parents[1]
HARD = (
    "data.feature_shift={name: gaussian_noise, std: 0.3}",
    "data.label_noise={rate: [0.1, 0.4], clients: 0.5}",
    "data.preprocess={scale: standard, fit: federated}",
)
SCALED = "{impute: median, scale: standard, fit: federated}"


def write_hospitals(path):
    """Four hospitals, values missing, features on scales from 1e-3 to 1e4, one of them never measured at C."""
    draw = stream(0, "test-hospitals")
    n = 600
    y = draw.integers(0, 2, n)
    hospital = draw.choice(np.array(list("ABCD")), n, p=[0.4, 0.3, 0.2, 0.1])
    x = draw.standard_normal((n, 5)) + 1.2 * y[:, None]
    x = x * [1.0, 1e4, 1e-3, 30.0, 1.0] + [0.0, 5e4, 1.0, 0.0, 3.0]
    x[draw.random(x.shape) < 0.1] = np.nan
    x[hospital == "C", 3] = np.nan
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "d", "e", "hospital", "sick"])
        for row, place, label in zip(x.tolist(), hospital, y, strict=True):
            writer.writerow([*("" if np.isnan(value) else repr(value) for value in row), place, label])
    return path


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    return write_hospitals(tmp_path_factory.mktemp("table") / "hospitals.csv")


def scenario(path, preprocess, *overrides):
    document = {
        "name": "hospitals",
        "seed": 0,
        "rounds": 8,
        "data": {
            "dataset": "table",
            "path": str(path),
            "label": "sick",
            "partition": {"name": "natural_id", "partition_by": "hospital"},
            "test": 0.2,
        },
        "model": "logistic",
        "strategy": "fedavg",
        "client": {"local_epochs": 2, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 0.1}},
        "evaluation": {"min_client_samples": 1},
        "runtime": {"backend": "inprocess"},
    }
    return from_mapping(document, overrides=[f"data.preprocess={preprocess}", *overrides])


def training_rows(chosen):
    federation = load_federation(chosen.data, 0)
    return federation, federation.dataset.x[federation.train.indices].astype(np.float64)


def fitted_in(result):
    return Fitted.from_json((result.directory / "preprocess.json").read_text())


@pytest.mark.parametrize("impute", ["mean", "median"])
def test_federated_statistics_are_those_of_all_training_rows(tmp_path, hospitals, impute):
    chosen = scenario(hospitals, f"{{impute: {impute}, scale: standard}}", "rounds=1")
    fitted = fitted_in(run(chosen, tmp_path / "run"))
    federation, x = training_rows(chosen)
    np.testing.assert_allclose(fitted.transform.shift, np.nanmean(x, axis=0), rtol=1e-9)
    np.testing.assert_allclose(fitted.transform.scale, np.nanstd(x, axis=0), rtol=1e-9)
    span = np.nanmax(x, axis=0) - np.nanmin(x, axis=0)
    expected, allowed = {
        "mean": (np.nanmean(x, axis=0), 1e-9 * span),
        "median": (np.nanmedian(x, axis=0), span / 2048 * (1 + 1e-9)),
    }[impute]
    assert np.all(np.abs(fitted.transform.fill - expected) <= allowed)
    assert fitted.clients == federation.num_clients == 4


def test_four_hospitals_learn_what_they_do_not_without_scaling(tmp_path, hospitals):
    scaled = run(scenario(hospitals, SCALED), tmp_path / "scaled")
    raw = run(scenario(hospitals, "{impute: median}"), tmp_path / "raw")
    own = run(scenario(hospitals, "{impute: mean, scale: minmax, fit: client}"), tmp_path / "own")
    assert scaled.summary["final"]["accuracy"] > 0.85
    assert scaled.summary["final"]["balanced_accuracy"] > raw.summary["final"]["balanced_accuracy"] + 0.1
    assert own.summary["final"]["accuracy"] > 0.7
    task = RunReader(scaled.directory).fingerprints["task"]
    np.testing.assert_array_equal(task["preparation"]["scale"], fitted_in(scaled).transform.scale)


def test_missing_values_without_imputation_name_the_columns(tmp_path, hospitals):
    with pytest.raises(UsageError, match=r"by column: a \(\d+\), b .*impute"):
        run(scenario(hospitals, "{scale: standard}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fit_client_prepares_test_rows_by_their_own_client(tmp_path, hospitals):
    chosen = scenario(hospitals, "{impute: mean, scale: standard, fit: client}", "rounds=1")
    fitted = fitted_in(run(chosen, tmp_path / "run"))
    federation, _ = training_rows(chosen)
    assert federation.test_owner is not None
    for client in range(4):
        x = federation.dataset.x[federation.train.of(client)].astype(np.float64)
        seen = ~np.isnan(x).all(axis=0)
        np.testing.assert_allclose(fitted.own[client].shift[seen], np.nanmean(x[:, seen], axis=0), rtol=1e-9)
    by = fitted.of_test(federation.test_owner)
    np.testing.assert_array_equal(by.clients, federation.test_owner)
    assert set(by.each) == {0, 1, 2, 3}
    assert fitted.of_test(None) is fitted.transform
    # Hospital C never measured d: its weight there is 0.
    weights = np.array([fitted.own[client].count[3] for client in range(4)])
    expected = (weights * [fitted.own[client].shift[3] for client in range(4)]).sum() / weights.sum()
    assert weights[2] == 0
    assert fitted.transform.shift[3] == pytest.approx(expected)


def test_clients_that_never_train_are_prepared_and_not_asked(tmp_path, hospitals):
    for fit_by in ("client", "federated"):
        chosen = scenario(
            hospitals, f"{{impute: mean, scale: standard, fit: {fit_by}}}", "data.holdout_clients=[D]"
        )
        result = run(chosen, tmp_path / fit_by)
        assert fitted_in(result).clients == 3
        rows = RunReader(result.directory).rounds()
        assert rows[-1]["unseen"]["final"]["clients"] == 1
        assert rows[-1]["unseen"]["final"]["pooled_accuracy"] > 0.7


def test_queries_are_counted(tmp_path, hospitals):
    chosen = scenario(hospitals, SCALED, "rounds=2")
    result = run(chosen, tmp_path / "run")
    fitted, rows = fitted_in(result), RunReader(result.directory).rounds()
    assert fitted.bytes_up > 4 * 5 * (40 + 4096)
    assert result.summary["bytes"]["up"] == fitted.bytes_up + sum(row["bytes_up"] for row in rows)
    assert result.summary["bytes"]["down"] == fitted.bytes_down + sum(row["bytes_down"] for row in rows)


def test_the_run_directory_tells_heterogeneity_and_attributes(tmp_path, capsys):
    chosen = digits(*HARD)
    result = run(chosen, tmp_path / "run")
    federation = load_federation(chosen.data, 0)
    stored = json.loads((result.directory / "heterogeneity.json").read_text())
    found = describe(federation)
    assert stored["clients"] == list(federation.names)
    assert stored["counts"] == found.counts.tolist()
    assert stored["gini"] == found.gini
    show_partition(chosen)
    assert f"{stored['gini']:.3f}" in capsys.readouterr().out
    with (result.directory / "clients.csv").open() as file:
        rows = list(csv.DictReader(file))
    for client, row in enumerate(rows):
        assert float(row["noise_std"]) == pytest.approx(federation.shift.strengths[client], rel=1e-5)
        assert float(row["label_noise"]) == pytest.approx(federation.label_noise[client], rel=1e-5)
    assert sum(float(row["label_noise"]) > 0 for row in rows) == 4


def test_what_is_off_leaves_the_bytes_alone(tmp_path):
    plain = run(digits("rounds=2"), tmp_path / "plain")
    empty = run(digits("rounds=2", "data.preprocess={}"), tmp_path / "empty")
    still = run(
        digits(
            "rounds=2", "data.feature_shift={name: gaussian_noise, std: 0.0}", "data.label_noise={rate: 0.0}"
        ),
        tmp_path / "still",
    )
    assert len({sha256(each.directory / "model.safetensors") for each in (plain, empty, still)}) == 1
    assert not (empty.directory / "preprocess.json").exists()


@pytest.mark.parametrize("name", ["rotation", "brightness"])
def test_pictures_can_be_shifted_and_vectors_not(tmp_path, hospitals, name):
    plain = run(digits("rounds=1"), tmp_path / "plain")
    shifted = run(digits("rounds=1", f"data.feature_shift={name}"), tmp_path / "shifted")
    tested = run(
        digits("rounds=1", f"data.feature_shift={{name: {name}, global_test: clients}}"), tmp_path / "test"
    )
    hashes = [sha256(each.directory / "model.safetensors") for each in (plain, shifted, tested)]
    assert hashes[0] != hashes[1] == hashes[2]
    assert shifted.summary["final"]["loss"] != tested.summary["final"]["loss"]
    with pytest.raises(UsageError, match=f"data.feature_shift: {name} needs images"):
        run(scenario(hospitals, SCALED, f"data.feature_shift={name}"), tmp_path / "vectors")


def test_the_angles_of_the_global_test_come_in_turn(tmp_path):
    from fedbal.assembly import assemble

    mixed = "data.feature_shift={name: rotation, angles: [0, 90, 180], mixture: 1.0%s}"
    plain = assemble(digits(), "cpu").test.split
    turned = assemble(digits(mixed % ", global_test: angles"), "cpu").test.split
    positions = np.arange(12)
    expected, _ = plain.batch(positions)
    found, _ = turned.batch(positions)
    for angle in range(3):
        torch.testing.assert_close(
            found[angle::3], torch.rot90(expected, angle, (2, 3))[angle::3], rtol=0, atol=1e-5
        )
    here = run(digits("rounds=2", mixed % ""), tmp_path / "here")
    there = run(digits("rounds=2", mixed % ", global_test: clients"), tmp_path / "there")
    assert sha256(there.directory / "model.safetensors") == sha256(here.directory / "model.safetensors")
    assert there.summary["final"]["loss"] != here.summary["final"]["loss"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(digits(*HARD), tmp_path_factory.mktemp("whole") / "run").directory


def test_ray_gives_the_same_bytes(tmp_path, undisturbed):
    pytest.importorskip("ray")
    result = run(digits(*HARD, "runtime.backend=ray", "runtime.workers=2"), tmp_path / "ray")
    for name in ("model.safetensors", "preprocess.json", "clients.csv", "heterogeneity.json"):
        assert sha256(result.directory / name) == sha256(undisturbed / name)


KILLED = """
import os, signal, sys
from pathlib import Path
from fedbal import journal, simulation
from fedbal.observer import Silent
from tests.scenarios import digits
from tests.test_preprocess import HARD

last = int(sys.argv[1])
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if last == 0:
    from fedbal import loop
    loop.RoundLoop.run = lambda *_: die()
class Observer(Silent):
    def round_finished(self, row):
        if row["round"] == last:
            die()
journal.Journal._save_if_due = journal.Journal.save
simulation.run(digits(*HARD), Path(sys.argv[2]), observer=Observer())
"""


@pytest.mark.parametrize("last", [0, 2])
def test_kill_and_resume(tmp_path, undisturbed, last, monkeypatch):
    out = tmp_path / "run"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(last), str(out)],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (load_checkpoint(out) is None) == (last == 0)
    monkeypatch.setattr("fedbal.driver.fit", lambda *_: pytest.fail("clients are asked again"))
    resume(out)
    for name in ("model.safetensors", "preprocess.json"):
        assert sha256(out / name) == sha256(undisturbed / name)
    reader, whole = RunReader(out), RunReader(undisturbed)
    assert reader.fingerprints == whole.fingerprints
    assert reader.summary()["bytes"] == whole.summary()["bytes"]


def test_a_damaged_record_of_the_statistics_is_one_message(tmp_path):
    out = tmp_path / "run"
    subprocess.run([sys.executable, "-c", KILLED, "0", str(out)], cwd=ROOT, capture_output=True, check=False)
    (out / "preprocess.json").write_text('{"transform": {"fill": [')
    with pytest.raises(RunError, match=r"preprocess\.json is damaged"):
        resume(out)


class Answering:
    """A grid of two clients that answer what they are told to."""

    def __init__(self, answers):
        flower.become()
        self.answers = answers

    def send_and_receive(self, messages, *, timeout):
        for message in reversed(list(messages)):
            answer = self.answers[message.metadata.dst_node_id - 2]
            if isinstance(answer, Error):
                yield Message(answer, reply_to=message)
            elif answer is not None:
                record = protocol.to_record(answer)
                yield Message(RecordDict({protocol.STATISTICS: record}), reply_to=message)


PAIR = Population([2, 3], [2, 3], lambda node: node - 2, "ab".__getitem__, np.array([5, 5]))
GOOD = vars(Moments.of(np.array([[1.0, 2.0], [3.0, 2.0]])))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "no reply"),
        (Error(2, "ValueError: values are missing in ca"), "values are missing in ca"),
        ({**GOOD, "total": np.array([np.nan, 1.0])}, "statistics finite"),
        ({**GOOD, "lowest": np.array([9.0, 2.0])}, "exceeds the largest"),
        ({**GOOD, "count": np.array([-1, 2])}, "counts must be >= 0"),
        ({"count": np.array([1, 2])}, "expected count, total"),
        ({name: value[:1] for name, value in GOOD.items()}, r"of shape \(2,\)"),
    ],
)
def test_a_client_that_does_not_answer_properly_is_left_out_and_named(answer, reason):
    plan = Preprocess("mean", "standard")
    fitted = fit(Answering([GOOD, answer]), plan, PAIR, 2, None)
    assert fitted.clients == 1
    assert len(fitted.notes) == 1
    assert "without b (" in fitted.notes[0]
    np.testing.assert_array_equal(fitted.transform.shift, [2.0, 2.0])
    np.testing.assert_array_equal(fitted.transform.scale, [1.0, 1.0])
    with pytest.raises(RunError, match=f"no client answers.*{reason}"):
        fit(Answering([answer, answer]), plan, PAIR, 2, None)


def test_features_that_nobody_has_are_noted():
    nothing = vars(Moments.of(np.array([[1.0, np.nan], [3.0, np.nan]])))
    fitted = fit(
        Answering([nothing, nothing]), Preprocess("mean", "standard", features=("age", "ca")), PAIR, 2, None
    )
    assert fitted.notes == ["no training row has a value of ca; it counts as 0 throughout"]
    np.testing.assert_array_equal(fitted.transform.scale, [1.0, 1.0])
    again = Fitted.from_json(fitted.to_json())
    assert again.to_json() == fitted.to_json()


def test_mean_transforms_are_weighted_by_what_was_observed():
    one, two = np.ones(2), np.full(2, 2.0)
    mean = mean_transform(
        [Transform(one, one, one, np.array([1, 0])), Transform(two, two, two, np.array([3, 0]))]
    )
    np.testing.assert_allclose(mean.shift, [1.75, 1.5])
    np.testing.assert_array_equal(mean.count, [4, 0])
