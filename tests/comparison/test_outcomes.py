"""From run directories to records: values, windows, budgets, and runs that went wrong."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from fedbal.comparison.outcomes import places, read, values_of
from fedbal.comparison.records import Outcome
from fedbal.errors import UsageError
from fedbal.results import RunReader
from tests.comparison.runs import LABELS, PERSONAL, cell, made_up, protocol

PRIMARY = "test.balanced_accuracy"


def one(directory, declared=None, label="fedavg", **rest):
    (record,) = read(declared or protocol(label), [cell(label, 0, directory, **rest)])
    return record


def find(records, label, seed):
    return next(record for record in records if (record.method, record.seed) == (label, seed))


def test_values_are_means_over_the_last_tenth(tmp_path):
    found = one(made_up(tmp_path / "run", [i / 100 for i in range(1, 21)]))
    assert found.status == "finished"
    assert found.values[PRIMARY] == pytest.approx(0.195)
    assert found.values["test.nll"] == pytest.approx(1 - 0.195)
    assert found.values["test.few"] is None
    assert found.values["test.dice"] is None
    assert found.values["megabytes"] == pytest.approx(20 * 100 / 1e6)
    assert found.values["client_seconds"] == pytest.approx(40.0)
    assert found.values["wall_seconds"] == pytest.approx(10.0)


def test_a_reply_that_was_not_used_counts_and_a_client_that_was_not_asked_does_not(tmp_path):
    # Of five clients one did not reply, and one that did was dropped: two rounds, two replies dropped.
    assert one(made_up(tmp_path / "run", [0.1, 0.2])).dropped == 2


def test_a_budget_cuts_the_window_and_the_costs(tmp_path):
    directory = made_up(tmp_path / "run", [i / 100 for i in range(1, 21)])
    for budget in (("rounds", 10.0), ("bytes", 1000.0), ("client_seconds", 21.0)):
        found = one(directory, protocol("fedavg", budget=budget))
        assert found.values[PRIMARY] == pytest.approx(0.10)
        assert found.values["megabytes"] == pytest.approx(0.001)
        assert found.dropped == 10


def test_a_budget_below_the_first_round_is_refused(tmp_path):
    directory = made_up(tmp_path / "run", [0.1, 0.2])
    with pytest.raises(
        UsageError, match=r"budget: 99 bytes is less than the first round of fedavg .*takes, 100"
    ):
        one(directory, protocol("fedavg", budget=("bytes", 99.0)))


def test_models_of_clients_count_by_their_own_round(tmp_path):
    # Round 20 evaluates the model of round 19, and the final one.
    directory = made_up(tmp_path / "run", [0.1] * 20, personal=[None] * 19 + [0.6, 0.8])
    found = one(directory, protocol("local_only"), "local_only")
    assert found.values[PERSONAL] == pytest.approx(0.7)
    assert found.values[PRIMARY] == pytest.approx(0.1)


def test_rounds_that_were_not_evaluated_do_not_count(tmp_path):
    values = [None, None, None, None, 0.5, None, None, None, None, 0.7] * 2
    assert one(made_up(tmp_path / "run", values)).values[PRIMARY] == pytest.approx(0.7)
    cut = protocol("fedavg", budget=("rounds", 18.0))
    assert one(made_up(tmp_path / "cut", values), cut).values[PRIMARY] == pytest.approx(0.5)


def test_a_diverged_run_counts_at_chance_level(tmp_path):
    found = one(made_up(tmp_path / "run", [0.6, -0.1], status="diverged"))
    assert found.status == "diverged"
    assert found.values[PRIMARY] == 0.25
    assert found.values["test.nll"] == pytest.approx(math.log(4))
    assert found.values["test.ece"] is None
    assert found.values["test.few"] is None
    assert found.values["megabytes"] == pytest.approx(0.0002)


def test_the_declared_chance_level_holds(tmp_path):
    declared = protocol("fedavg", primary=Outcome(PRIMARY, chance=0.1))
    assert one(made_up(tmp_path / "run", [0.6], status="diverged"), declared).values[PRIMARY] == 0.1


@pytest.mark.parametrize(("higher", "expected"), [(False, 0.3), (True, 0.1)])
def test_without_a_chance_level_a_diverged_run_is_as_bad_as_the_worst(tmp_path, higher, expected):
    declared = protocol("a", "b", "c", primary=Outcome("test.ece", "ECE", higher=higher))
    cells = [
        cell("a", 0, made_up(tmp_path / "a", [0.2])),
        cell("b", 0, made_up(tmp_path / "b", [0.6])),
        cell("c", 0, made_up(tmp_path / "c", [0.9], status="diverged")),
    ]
    records = read(declared, cells)
    assert find(records, "c", 0).values["test.ece"] == pytest.approx(expected)


def test_runs_without_an_end_say_why(tmp_path):
    missing = one(tmp_path / "none")
    assert (missing.status, missing.directory, missing.values) == ("open", None, {})
    begun = one(made_up(tmp_path / "begun", [0.1], status="running"))
    assert (begun.status, begun.directory) == ("open", tmp_path / "begun")
    failed = one(tmp_path / "failed", reason="the disk is full")
    assert (failed.status, failed.reason) == ("failed", "the disk is full")
    damaged = made_up(tmp_path / "damaged", [0.1])
    (damaged / "rounds.jsonl").write_text("{\n")
    broken = one(damaged)
    assert broken.status == "failed"
    assert "is damaged" in broken.reason


def test_a_run_that_failed_before_and_is_there_now_is_finished(tmp_path):
    found = one(made_up(tmp_path / "run", [0.1]), reason="killed")
    assert (found.status, found.reason) == ("finished", None)


def test_records_come_by_data_set_seed_and_method(tmp_path):
    directory = made_up(tmp_path / "run", [0.1])
    declared = protocol("a", "b", datasets=("x", "y"))
    kind = type(cell("a", 0, directory))
    order = [("x", "a", 0), ("x", "b", 0), ("x", "a", 1), ("x", "b", 1), ("y", "a", 0), ("y", "b", 0)]
    cells = [kind(dataset, method, seed, directory) for dataset, method, seed in order]
    found = read(declared, cells[::-1])
    assert [(record.dataset, record.method, record.seed) for record in found] == order
    assert values_of(found, PRIMARY)["x"] == {"a": {0: 0.1, 1: 0.1}, "b": {0: 0.1, 1: 0.1}}


def test_values_of_leaves_out_runs_without_one(tmp_path):
    records = read(protocol("a", "b"), [cell("a", 0, tmp_path), cell("b", 0, made_up(tmp_path / "b", [0.3]))])
    assert values_of(records, PRIMARY) == {"": {"b": {0: 0.3}}}


def test_every_place_is_in_every_record_that_ended(ran):
    declared = protocol()
    assert places(declared)[:2] == (PRIMARY, PERSONAL)
    for record in read(declared, ran.cells):
        assert set(places(declared)) <= set(record.values)


def test_real_runs_have_the_numbers_of_their_rows(ran):
    records = read(protocol(), ran.cells)
    assert [record.method for record in records] == [*LABELS, *LABELS]
    for label in ("fedavg", "centralised"):
        found = find(records, label, 0)
        rows = RunReader(found.directory).rounds()
        assert found.values[PRIMARY] == pytest.approx(rows[-1]["test"]["balanced_accuracy"])
        assert found.values["fairness.worst_10_percent"] == pytest.approx(
            rows[-1]["fairness"]["final"]["worst_10_percent"]
        )
        moved = sum(row["bytes_up"] + row["bytes_down"] for row in rows)
        assert found.values["megabytes"] == pytest.approx(moved / 1e6)


def test_client_seconds_are_samples_over_speed(ran):
    found = find(read(protocol(), ran.cells), "fedavg", 0)
    reader = RunReader(found.directory)
    epochs, speed = 2, 1000.0
    expected = sum(row["num_examples"] * epochs / speed for row in reader.clients())
    assert found.values["client_seconds"] == pytest.approx(expected)


def test_a_run_that_really_diverged(ran):
    found = find(read(protocol(), ran.cells), "moon", 1)
    assert found.status == "diverged"
    assert found.values[PRIMARY] == pytest.approx(0.1)
    assert found.values["better_than_alone"] == 0.0
    assert found.dropped > 0


def test_better_than_alone_is_counted_client_by_client(ran):
    records = read(protocol(), ran.cells)
    alone = final(find(records, "local_only", 0).directory, "personal_accuracy")
    for label, column in (("fedavg", "accuracy"), ("fedavg_finetuned", "personal_accuracy")):
        found = find(records, label, 0)
        own = final(found.directory, column)
        wins = [(own[key][1] > base) + (own[key][1] == base) / 2 for key, (_, base) in alone.items()]
        sizes = [samples for samples, _ in alone.values()]
        assert found.values["better_than_alone"] == pytest.approx(np.mean(wins))
        assert found.values["better_than_alone_weighted"] == pytest.approx(np.average(wins, weights=sizes))
        assert found.values["better_than_alone_clients"] == len(alone)
    assert "better_than_alone" not in find(records, "local_only", 0).values
    fine, plain = (
        find(records, label, 0).values["better_than_alone"] for label in ("fedavg_finetuned", "fedavg")
    )
    assert fine > plain


def test_better_than_alone_needs_the_final_model(ran):
    cut = read(protocol(budget=("rounds", 3.0)), ran.cells)
    assert "better_than_alone" not in find(cut, "fedavg", 0).values
    without = read(protocol("fedavg"), [one for one in ran.cells if one.method == "fedavg"])
    assert "better_than_alone" not in find(without, "fedavg", 0).values


def test_records_can_be_written_as_json(ran):
    for record in read(protocol(), ran.cells):
        json.dumps(dict(record.values), allow_nan=False)


def final(directory, column):
    with (directory / "final_clients.csv").open(newline="") as lines:
        return {
            row["client"]: (int(row["test_samples"]), float(row[column])) for row in csv.DictReader(lines)
        }
