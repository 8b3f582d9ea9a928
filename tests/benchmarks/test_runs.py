"""Studies run end to end, go on where they were stopped, and say why a run failed."""

from __future__ import annotations

import dataclasses
import json

import pytest

from benchmarks.reproduce import feddisco_pages, results
from benchmarks.reproduce.cli import main, seeds
from benchmarks.reproduce.record import address, endpoints, execute, kept
from benchmarks.reproduce.runner import run_cells
from benchmarks.reproduce.studies import find_study
from benchmarks.reproduce.study import ACCURACY, Arm, Claim, Setting, Size, Study
from fedbal import simulation
from fedbal.errors import UsageError
from fedbal.interrupts import Interrupted
from fedbal.observer import Silent
from fedbal.results import RunReader
from tests.scenarios import DIGITS


def test_endpoints():
    values, rounds = [0.1, 0.5, None, 0.3, 0.4], [2, 4, 6, 8, 10]
    found = endpoints(values, rounds, 10, (4, 20), higher=True)
    assert found == {"last": 0.4, "last4": pytest.approx(0.35), "last20": pytest.approx(0.325), "best": 0.5}
    assert endpoints(values, rounds, 10, (), higher=False)["best"] == 0.1
    assert endpoints([None], [1], 1, (1,), higher=True) == {"last": None, "last1": None, "best": None}


def measured(scenario, reader):
    return {"bytes": float(sum(row["bytes_up"] for row in reader.rounds()))}


@pytest.fixture
def small():
    return Study(
        name="small",
        title="Small",
        paper="nobody",
        base=DIGITS,
        settings=(Setting("one", "One"),),
        arms=(Arm("a", "A"), Arm("b", "B", ("strategy=uniform",))),
        sizes={"cpu": Size("seconds", (0, 1), ("rounds=3", "evaluation.every=2"))},
        claims=(Claim("c", "A differs.", "nobody", "one", "a", "b"),),
        measure=measured,
    )


def test_a_study_is_run_once_and_written_down(small, tmp_path):
    said = []
    cells = small.cells("cpu")
    records = run_cells(small, cells, tmp_path, say=said.append)
    assert [(record["arm"], record["seed"]) for record in records] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert len(said) == 4
    again = run_cells(small, cells, tmp_path, say=said.append)
    assert again == records
    assert said[4:] == ["small: 4 of 4 runs are there already"]
    assert not list((tmp_path / "unfinished").iterdir())

    content = results.collect(small, "cpu", records, 1)
    results.write(tmp_path / "small.json", content)
    assert results.read(tmp_path / "small.json") == json.loads(json.dumps(content))
    arm = content["settings"]["one"]["arms"]["a"]
    assert arm["curve"]["round"] == [2, 3]
    first, second = (arm["seeds"][seed]["endpoints"] for seed in ("0", "1"))
    assert arm["curve"]["accuracy"]["mean"][1] == pytest.approx(
        (first["accuracy.last"] + second["accuracy.last"]) / 2
    )
    assert first["bytes"] > 0
    assert content["settings"]["one"]["rounds"] == 3
    assert content["claims"][0]["seeds"] == 2
    assert content["environment"]["runs"] == 4


def test_records_are_what_the_run_says(small, tmp_path):
    cell = small.cells("cpu")[1]
    record = execute(small, cell, tmp_path / "records")
    run = simulation.run(cell.scenario, tmp_path / "run")
    assert record["endpoints"]["accuracy.last"] == run.summary["final"]["accuracy"]
    rows = [row["test"] for row in RunReader(tmp_path / "run").rounds()]
    assert record["curve"]["accuracy"] == [rows[1]["accuracy"], rows[2]["accuracy"]]
    assert rows[0] is None


class Stop(Silent):
    def round_finished(self, row):
        raise KeyboardInterrupt


def test_a_stopped_run_goes_on(small, tmp_path, monkeypatch):
    cell = small.cells("cpu")[0]
    undisturbed = execute(small, cell, tmp_path / "undisturbed")
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        simulation.run(cell.scenario, tmp_path / "unfinished" / address(cell), observer=Stop())

    def refuse(*arguments, **options):
        raise AssertionError("started anew")

    monkeypatch.setattr(simulation, "run", refuse)
    record = execute(small, cell, tmp_path)
    assert record["status"] == "finished"
    assert record["endpoints"] == undisturbed["endpoints"]


def test_a_failed_run_says_why_and_is_tried_again(small, tmp_path):
    bad = Arm("bad", "Bad", ("cohort.size=8", "data.holdout_clients=0.5"))
    study = dataclasses.replace(small, arms=(Arm("a", "A"), bad))
    cells = study.cells("cpu", (0,))
    records = run_cells(study, cells, tmp_path, say=lambda line: None)
    assert [record["status"] for record in records] == ["finished", "failed"]
    assert "cohort" in records[1]["reason"]
    assert kept(cells[0], tmp_path) is not None
    assert kept(cells[1], tmp_path) is None
    content = results.collect(study, "cpu", records, 1)
    assert content["settings"]["one"]["arms"]["bad"]["seeds"]["0"]["reason"] == records[1]["reason"]


def test_the_command_and_spawned_workers_agree(tmp_path):
    options = ["fedprox", "--size", "smoke", "--seeds", "1"]
    for workers in ("1", "2"):
        main([*options, "--workers", workers, "--out", str(tmp_path / workers)])
    one, two = (json.loads((tmp_path / name / "fedprox-smoke.json").read_text()) for name in ("1", "2"))
    for setting, block in one["settings"].items():
        for name, arm in block["arms"].items():
            other = two["settings"][setting]["arms"][name]["seeds"]["1"]
            assert arm["seeds"]["1"]["endpoints"] == other["endpoints"]
            assert arm["seeds"]["1"]["endpoints"]["train_loss.last"] > 0
            assert arm["seeds"]["1"]["endpoints"]["variance.last20"] > 0


def test_feddisco_smoke(tmp_path, capsys):
    main(["feddisco", "--size", "smoke", "--workers", "1", "--seeds", "0,1", "--out", str(tmp_path)])
    content = json.loads((tmp_path / "feddisco-smoke.json").read_text())
    arms = content["settings"]["niid1"]["arms"]
    assert len(arms) == 12
    assert set(feddisco_pages.draw(content)) == {"", "-differences"}
    content["settings"]["niid1"]["arms"] = {"fedavg": arms["fedavg"]}
    assert set(feddisco_pages.draw(content)) == {""}
    assert all(seed["status"] == "finished" for arm in arms.values() for seed in arm["seeds"].values())
    assert "FedDisco beats FedAvg" in capsys.readouterr().out


def test_seeds():
    assert seeds("0-3") == (0, 1, 2, 3)
    assert seeds("5,0-1,1") == (5, 0, 1)
    assert seeds(None) is None
    for text in ("", "3-1", "a", "-1"):
        with pytest.raises(UsageError, match="--seeds"):
            seeds(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "choose one of"),
        (["fedprox", "--size", "huge"], "no size 'huge'; choose one of smoke, cpu"),
        (["fedprox", "--workers", "0"], "at least 1"),
    ],
)
def test_mistakes_are_one_message(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_results_are_small(tmp_path):
    curve = {"round": list(range(1, 201)), "accuracy": [0.123456789] * 200}
    study = find_study("fedprox")
    thinned = results._mean_curve([curve, curve])
    assert len(thinned["round"]) == results.POINTS
    assert (thinned["round"][0], thinned["round"][-1]) == (1, 200)
    assert results.results_path(study, "cpu", tmp_path).name == "fedprox.json"
    assert results.results_path(study, "long", tmp_path).name == "fedprox-long.json"
    assert ACCURACY.percent
