"""The two tables of numbers."""

from __future__ import annotations

import csv

import pytest

from fedbal.comparison import tidy
from fedbal.comparison.outcomes import read
from fedbal.results import RunReader
from tests.comparison.runs import cell, protocol


def rows(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_every_number_of_evaluated_rounds_is_there(ran, tmp_path):
    records = read(protocol(), ran.cells)
    results, outcomes = (rows(path) for path in tidy.write(protocol(), records, tmp_path / "out"))
    run = RunReader(ran.base / "fedavg-0").rounds()
    mine = {(row["round"], row["metric"]): row for row in results if row["run"] == "fedavg-0"}
    for number, row in enumerate(run, 1):
        assert float(mine[str(number), "test.accuracy"]["value"]) == pytest.approx(row["test"]["accuracy"])
    assert float(mine["4", "fairness.mean"]["value"]) == pytest.approx(run[-1]["fairness"]["final"]["mean"])
    moved = sum(row["bytes_up"] + row["bytes_down"] for row in run)
    assert float(mine["4", "bytes"]["value"]) == pytest.approx(moved)
    assert {row["status"] for row in results if row["run"] == "moon-1"} == {"diverged"}
    assert len(mine) == len({(row["round"], row["metric"]) for row in mine.values()})
    values = {row["metric"]: float(row["value"]) for row in outcomes if row["run"] == "fedavg-0"}
    known = {name: value for name, value in records[0].values.items() if value is not None}
    assert values == pytest.approx(known)


def test_rounds_behind_the_budget_and_rounds_that_were_not_evaluated_are_left_out(tmp_path):
    from tests.comparison.runs import made_up

    declared = protocol("fedavg", budget=("rounds", 3.0))
    directory = made_up(tmp_path / "run", [0.1, None, 0.3, 0.4], personal=[0.0, 0.1, 0.2, 0.3, 0.4])
    records = read(declared, [cell("fedavg", 0, directory)])
    found = list(tidy.round_rows(declared, records))
    at = {metric: [row[5] for row in found if row[6] == metric] for metric in {row[6] for row in found}}
    assert at["test.accuracy"] == at["train.loss"] == at["bytes"] == [1, 3]
    assert at["personal.pooled_balanced_accuracy"] == [0, 1, 2, 3]
    assert "test.few" not in at


def test_a_run_without_an_end_has_one_row_that_says_so(tmp_path):
    records = read(
        protocol("a", "b"), [cell("a", 0, tmp_path / "a"), cell("b", 0, tmp_path / "b", "no disk")]
    )
    results, outcomes = (rows(path) for path in tidy.write(protocol("a", "b"), records, tmp_path))
    assert [(row["method"], row["status"], row["value"]) for row in results] == [
        ("a", "open", ""),
        ("b", "failed", ""),
    ]
    assert outcomes == []


def test_stats_reads_the_outcomes(ran, tmp_path):
    from typer.testing import CliRunner

    from fedbal.cli import app

    tidy.write(protocol(), read(protocol(), ran.cells), tmp_path)
    found = CliRunner().invoke(
        app, ["stats", str(tmp_path / "outcomes.csv"), "--metric", "test.balanced_accuracy"]
    )
    assert found.exit_code == 0, found.output
    assert "centralised" in found.output
