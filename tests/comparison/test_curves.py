"""Curves, class maps and client weights of small runs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fedbal.comparison.curves import class_heat, client_weights, curves
from fedbal.comparison.outcomes import read
from fedbal.results import RunReader
from tests.comparison.runs import cell, made_up, protocol


def records(ran):
    return read(protocol(), ran.cells)


def test_a_curve_has_its_costs(tmp_path):
    directory = made_up(tmp_path / "run", [0.1, None, 0.3], up=60, down=40, seconds=2.0)
    found = read(protocol("fedavg"), [cell("fedavg", 0, directory)])
    expected = {"rounds": [1, 3], "bytes": [100, 300], "client_seconds": [2, 6], "seconds": [0.5, 1.5]}
    for axis, x in expected.items():
        (curve,) = curves(found, "test.balanced_accuracy", axis)
        np.testing.assert_array_equal(curve.x, x)
        np.testing.assert_array_equal(curve.y, [0.1, 0.3])
        np.testing.assert_array_equal(curve.rounds, [1, 3])
    (cut,) = curves(found, "test.balanced_accuracy", budget=("bytes", 250.0))
    assert cut.y.tolist() == [0.1]
    assert curves(found, "test.few") == ()
    assert curves(found, "test.no_such_metric") == ()


def test_what_clients_say_stands_at_the_round_of_the_model(ran):
    found = [one for one in records(ran) if (one.method, one.seed) == ("fedavg", 0)]
    (curve,) = curves(found, "fairness.mean")
    rows = RunReader(found[0].directory).rounds()
    assert curve.rounds.tolist() == [0, 1, 2, 3, 4]
    expected = [row["fairness"]["mean"] for row in rows] + [rows[-1]["fairness"]["final"]["mean"]]
    np.testing.assert_array_equal(curve.y, expected)
    assert curve.x.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_file_that_grew_is_read_again(tmp_path):
    directory = made_up(tmp_path / "run", [0.1, 0.2])
    found = read(protocol("fedavg"), [cell("fedavg", 0, directory)])
    rows = (directory / "rounds.jsonl").read_text().splitlines()
    assert len(curves(found, "test.accuracy")[0].y) == 2
    third = {**json.loads(rows[-1]), "round": 3}
    (directory / "rounds.jsonl").write_text("\n".join([*rows, json.dumps(third)]) + "\n")
    assert len(curves(found, "test.accuracy")[0].y) == 3


def test_class_heat_is_the_mean_over_seeds(ran):
    (heat,) = class_heat(protocol(), records(ran))
    # The result of personal models is no recall of a common one.
    assert heat.methods == ("fedavg", "moon", "centralised")
    assert heat.metric == "per_class_recall"
    assert heat.classes == tuple("0123456789")
    rows = [RunReader(ran.base / f"fedavg-{seed}").rounds()[-1]["test"] for seed in (0, 1)]
    np.testing.assert_allclose(heat.values[0], np.mean([row["per_class_recall"] for row in rows], axis=0))
    fine = RunReader(ran.base / "moon-0").rounds()[-1]["test"]["per_class_recall"]
    np.testing.assert_allclose(heat.values[1], (np.array(fine) + 0.1) / 2)
    counts = [
        RunReader(ran.base / f"fedavg-{seed}").fingerprints["task"]["groups"]["counts"] for seed in (0, 1)
    ]
    np.testing.assert_allclose(heat.training, np.mean(counts, axis=0))


def test_a_class_without_test_samples_has_no_recall(tmp_path):
    directory = made_up(tmp_path / "run", [0.5])
    (heat,) = class_heat(protocol("fedavg"), read(protocol("fedavg"), [cell("fedavg", 0, directory)]))
    assert heat.values[0][:3].tolist() == [0.5] * 3
    assert math.isnan(heat.values[0][3])
    assert class_heat(protocol("fedavg"), []) == ()


def test_client_weights_are_those_of_the_rule(ran):
    directory = ran.base / "fedavg-0"
    found = client_weights(directory)
    assert found.of == 8
    assert found.samples.tolist() == sorted(found.samples.tolist(), reverse=True)
    assert found.weights.shape == (4, 8)
    np.testing.assert_allclose(np.nansum(found.weights, axis=1), 1.0)
    np.testing.assert_array_equal(found.counts.sum(axis=1), found.samples)
    for row in RunReader(directory).clients():
        column = found.clients.index(row["client"])
        assert found.weights[row["round"] - 1, column] == row["weight"]
        assert found.samples[column] == row["num_examples"]
    assert np.isnan(found.weights).sum() == 4 * 4
    few = client_weights(directory, listed=2)
    assert few.clients == found.clients[:2]
    assert few.of == 8


def test_a_dropped_reply_has_no_weight(ran):
    found = client_weights(ran.base / "moon-1")
    dropped = [row for row in RunReader(ran.base / "moon-1").clients() if row["status"] == "dropped"]
    assert dropped
    for row in dropped:
        assert found.weights[row["round"] - 1, found.clients.index(row["client"])] == pytest.approx(0.0)
