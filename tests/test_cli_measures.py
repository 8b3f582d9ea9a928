"""What ``fedbal run`` and ``show`` print of the measurements: views, columns of clients, means beside the end."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from fedbal.cli import app
from fedbal.cli_measures import print_measures
from fedbal.cli_run import print_result
from fedbal.simulation import run
from tests.scenarios import digits
from tests.test_client_columns import UPDATE


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measures")
    (folder / "own.py").write_text(UPDATE)
    changes = (
        "rounds=11",
        "client.local_epochs=1",
        "data.holdout_clients=[2]",
        f"client.update={folder}/own.py:Own",
    )
    return run(digits(*changes), folder / "run")


def test_show_has_views_groups_and_a_column_for_each_kind_of_client(result):
    shown = CliRunner().invoke(app, ["show", str(result.directory)]).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    final = result.summary["final"]
    assert "test test set natural prior" in lines
    assert f"AUROC {final['auroc']:.4f} {final['natural']['auroc']:.4f}" in lines
    assert f"ECE {final['ece']:.4f} {final['natural']['ece']:.4f}" in lines
    assert f"G-mean {final['g_mean']:.4f} -" in lines
    (groups,) = [line for line in lines if line.startswith("recall (classes): many")]
    assert groups.endswith("by 20 and 100 training samples")
    assert "clients, model of round 11" in lines
    assert "accuracy global model personal models unseen clients" in lines


def test_final_and_late_mean_stand_together_and_best_is_not_printed(result, capsys):
    print_result(result.summary, result.directory)
    header, final, late, directory = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["strategy", "rounds"]
    assert final.split()[0] == "fedavg"
    assert late.startswith("mean of rounds 10 to 11")
    mean = result.summary["last_10_percent"]
    keys = ("accuracy", "balanced_accuracy", "macro_f1", "worst_class_recall")
    assert late.split()[6:11] == ["2", *(f"{mean[key]:.4f}" for key in keys)]
    assert directory.startswith("run directory")
    shown = CliRunner().invoke(app, ["show", str(result.directory)]).stdout
    assert "mean of rounds 10 to 11: accuracy" in shown
    assert "best" not in shown.replace("best 10 %", "")


def test_a_spread_that_does_not_exist_is_explained(capsys):
    note = "no client has 30 test samples"
    column = {
        "model_round": 3,
        "clients": 0,
        "mean": None,
        "pooled_accuracy": 0.5,
        "pooled_n": 12,
        "note": note,
    }
    print_measures({"round": 3, "test": None, "fairness": column, "personal": None, "unseen": None})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["accuracy", "clients", "pooled", "pooled", "global"]
    assert lines[-1] == f"global model: {note}"


def test_rows_of_older_runs_print_nothing_new(capsys):
    print_measures({"round": 1, "test": {"accuracy": 0.5}, "fairness": None})
    assert capsys.readouterr().out == ""
