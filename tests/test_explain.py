"""``fedbal explain``: one round, client by client, from runs finished, running and cut off."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fedbal.cli import app
from fedbal.cli_explain import class_bar
from fedbal.errors import RunError, UsageError
from fedbal.explain import explain_round
from fedbal.observer import Silent
from fedbal.results import RunReader
from fedbal.simulation import run
from tests.scenarios import digits

KEYS = {
    "client",
    "num_examples",
    "classes",
    "discrepancy",
    "weight",
    "fedavg_weight",
    "cosine",
    "update_norm",
    "status",
    "reason",
}


def call(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    out = tmp_path_factory.mktemp("explain") / "run"
    scenario = digits("strategy=feddisco", "cohort={size: 6}", "systems.stragglers.fraction=0.34")
    return RunReader(run(scenario, out).directory)


def test_every_client_of_the_cohort_is_explained(reader):
    found = explain_round(reader, 2)
    assert (found["round"], found["strategy"], found["sampled"], found["replied"]) == (2, "feddisco", 6, 4)
    assert found["test"] == reader.rounds()[1]["test"]
    assert all(set(row) == KEYS for row in found["clients"])
    assert found["engine"]["kind"] == "loop"
    kept = [row for row in found["clients"] if row["status"] == "ok"]
    late = [row for row in found["clients"] if row["status"] == "straggler"]
    assert (len(kept), len(late)) == (4, 2)
    total = sum(row["num_examples"] for row in kept)
    for row in kept:
        assert sum(row["classes"].values()) == row["num_examples"]
        assert row["fedavg_weight"] == row["num_examples"] / total
        assert -1 <= row["cosine"] <= 1
        assert row["update_norm"] > 0
        assert row["reason"] is None
    for key in ("weight", "fedavg_weight"):
        assert sum(row[key] for row in kept) == pytest.approx(1)
    assert any(row["weight"] != row["fedavg_weight"] for row in kept)
    for row in late:
        assert row["weight"] is row["fedavg_weight"] is row["cosine"] is row["discrepancy"] is None
        assert "does not count" in row["reason"]


def test_fedavg_got_what_fedavg_would_have_given(tmp_path):
    reader = RunReader(run(digits("rounds=1"), tmp_path / "run").directory)
    for row in explain_round(reader)["clients"]:
        assert row["weight"] == pytest.approx(row["fedavg_weight"])
        assert row["discrepancy"] is None


def test_recorded_cosines_are_those_of_the_updates(tmp_path):
    # With two clients of which one gets all the weight the mean update is that client's update.
    (tmp_path / "first.py").write_text(
        "from strategies.fedavg import FedAvg\n"
        "import numpy as np\n\n"
        "class First(FedAvg):\n"
        "    def weights(self, replies):\n"
        "        return np.eye(len(replies))[0]\n"
    )
    scenario = digits("rounds=1", f"strategy={tmp_path}/first.py:First")
    reader = RunReader(run(scenario, tmp_path / "run").directory)
    first, *others = explain_round(reader)["clients"]
    assert first["cosine"] == pytest.approx(1.0)
    assert all(-1.0 < row["cosine"] < 1.0 for row in others)


def test_a_dropped_reply_says_why(tmp_path):
    reader = RunReader(run(digits("client.optimizer.lr=1e30", "rounds=1"), tmp_path / "run").directory)
    rows = explain_round(reader)["clients"]
    dropped = [row for row in rows if row["status"] == "dropped"]
    assert dropped
    assert all("non-finite" in row["reason"] for row in dropped)
    assert all(row["fedavg_weight"] is None for row in dropped)
    shown = call(reader.path).stdout
    assert f"{dropped[0]['client']}: {dropped[0]['reason']}" in shown


def test_a_stock_flower_strategy_says_less(tmp_path):
    scenario = digits("rounds=1", "strategy=flwr.serverapp.strategy:FedAvg")
    reader = RunReader(run(scenario, tmp_path / "run").directory)
    for row in explain_round(reader)["clients"]:
        assert row["weight"] is row["cosine"] is None
        assert 0 < row["fedavg_weight"] < 1
    header = call(reader.path).stdout.splitlines()[1].split()
    assert header == ["client", "n", "classes", "FedAvg", "weight", "status"]


def test_the_table(reader):
    done = call(reader.path, "--round", 2)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("round 2: feddisco, 4 of 6 replied; test accuracy 0.")
    assert lines[1].split() == [
        *("client", "n", "classes", "discrepancy", "weight", "FedAvg", "weight", "cosine", "update", "norm"),
        "status",
    ]
    assert len([line for line in lines[2:8] if line.split()[-1] in ("ok", "straggler")]) == 6
    assert all("█" in line for line in lines[2:8])
    assert lines[-2] == "engine: clients are trained one by one"
    assert lines[-1].startswith("classes: a block a class, 0 to 9; cosine")


def test_json_is_what_python_gives(reader):
    done = call(reader.path, "--round", 3, "--json")
    assert json.loads(done.stdout) == explain_round(reader, 3)
    assert json.loads(call(reader.path, "--json").stdout)["round"] == 4


@pytest.mark.parametrize("number", [0, -1, 5, 1000])
def test_a_round_that_does_not_exist(reader, number):
    done = call(reader.path, "--round", number)
    assert done.exit_code == 2
    assert done.stderr == f"error: --round {number}: {reader.path} has rounds 1 to 4.\n"


def test_a_running_run_is_explained_up_to_its_last_round(tmp_path):
    seen = {}

    class Watch(Silent):
        def started(self, scenario, directory, first_round):
            with pytest.raises(UsageError, match="no round is finished yet"):
                explain_round(RunReader(directory))
            seen["directory"] = directory

        def round_finished(self, row):
            if row["round"] == 2:
                running = RunReader(seen["directory"])
                seen["found"] = explain_round(running)
                with pytest.raises(
                    UsageError, match=r"--round 3: .* has rounds 1 to 2; the run is running and plans 4"
                ):
                    explain_round(running, 3)

    run(digits(), tmp_path / "run", observer=Watch())
    assert (seen["found"]["round"], seen["found"]["status"]) == (2, "running")
    assert seen["found"]["clients"] == explain_round(RunReader(tmp_path / "run"), 2)["clients"]


def test_a_row_that_is_still_being_written_does_not_count(reader, tmp_path):
    for name in ("scenario.yaml", "clients.csv", "clients.jsonl"):
        (tmp_path / name).write_bytes((reader.path / name).read_bytes())
    lines = (reader.path / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "rounds.jsonl").write_bytes(lines[0] + lines[1][:30])
    assert explain_round(RunReader(tmp_path))["round"] == 1
    (tmp_path / "clients.csv").unlink()
    with pytest.raises(RunError, match=r"clients\.csv is missing or damaged"):
        explain_round(RunReader(tmp_path))


def test_a_directory_without_a_run(tmp_path):
    done = call(tmp_path)
    assert done.exit_code == 2
    assert "not a run directory" in done.stderr


@pytest.mark.parametrize(
    ("counts", "bar"),
    [
        ([8, 0, 4, 1], "█·▄▁"),
        ([1, 1], "██"),
        ([1000, 1], "█▁"),
        ([0, 0], "-"),
        ([], "-"),
    ],
)
def test_class_bars(counts, bar):
    assert class_bar(counts) == bar


def test_many_classes_share_characters():
    counts = np.zeros(100, np.int64)
    counts[:5] = 1
    counts[95:] = 2
    bar = class_bar(counts.tolist())
    assert bar == "▄" + "·" * 18 + "█"
    assert len(class_bar([1] * 33)) == 20
