"""``fedbal stats`` and the files that it reads."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fedbal.cli import app
from fedbal.comparison.given import read
from fedbal.errors import UsageError
from fedbal.seeding import stream

NOISE = stream(0, "given").normal(0.0, 0.004, (10, 3)).tolist()
MEANS = {"erm": 0.7, "good": 0.75, "same": 0.7}


def write(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def results(path, datasets=("",), metrics=("",), seeds=10):
    lines = ["method,dataset,seed,metric,value"]
    for dataset in datasets:
        for metric in metrics:
            for seed in range(seeds):
                for (method, mean), noise in zip(MEANS.items(), NOISE[seed], strict=True):
                    lines.append(f"{method},{dataset},{seed},{metric},{mean + 0.02 * (seed % 3) + noise:.6f}")
    return write(path / "results.csv", lines)


def stats(*words):
    return CliRunner().invoke(app, ["stats", *map(str, words)])


def test_verdicts_are_printed_best_first(tmp_path):
    done = stats(results(tmp_path), "--baseline", "erm", "--margin", "0.02")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["good", "same", "erm"] or [
        line.split()[0] for line in lines[2:5]
    ] == ["good", "erm", "same"]
    by_method = {line.split()[0]: line.split()[-1] for line in lines[2:5]}
    assert by_method == {"good": "better", "same": "equivalent", "erm": "baseline"}
    assert "good is better than erm" in done.output
    assert "adjusted p .004, 10 seeds" in done.output


def test_json_holds_everything(tmp_path):
    file = results(tmp_path, datasets=("a", "b"), metrics=("acc", "loss"))
    done = stats(file, "--baseline", "erm", "--metric", "acc", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.output)
    assert content["metric"] == "acc"
    assert len(content["analysis"]["contrasts"]) == 4
    assert len(content["analysis"]["across"]) == 3
    assert content["analysis"]["contrasts"][0]["verdict"] == "better"
    assert [one["method"] for one in content["exploratory"]["loss"]] == ["good", "same"] * 2
    assert "verdict" not in content["exploratory"]["loss"][0]
    assert any(text.startswith("On a, good is better") for text in content["sentences"])


def test_other_metrics_are_exploratory(tmp_path):
    file = results(tmp_path, metrics=("acc", "loss", "time"))
    done = stats(file, "--baseline", "erm", "--metric", "loss", "--metric", "time", "--lower-is-better")
    assert "good is worse than erm in loss" in done.output
    assert "time: exploratory, no verdicts" in done.output
    assert "acc" not in done.output


def test_planned_seeds_and_reference_rows(tmp_path):
    done = stats(results(tmp_path, seeds=5), "--baseline", "erm", "--planned", "10", "--reference", "same")
    assert "a look at 5 seeds of 10 planned" in done.output
    assert "same (reference)" in done.output
    assert "cannot go below .0625" in done.output


def test_rows_of_rounds_and_runs_that_went_wrong(tmp_path):
    lines = ["method;seed;round;value;status"]
    for method, mean in (("fedavg", 0.5), ("mine", 0.6)):
        for seed in (0, 1):
            status = "diverged" if (method, seed) == ("mine", 1) else "finished"
            lines += [f"{method};{seed};{when};{mean + when / 1000};{status}" for when in range(1, 21)]
    lines.append("mine;2;1;0.9;failed")
    file = write(tmp_path / "rounds.csv", lines)
    found = read(file)
    assert found.outcomes("", 0.1)[""]["fedavg"] == {0: pytest.approx(0.5195), 1: pytest.approx(0.5195)}
    assert found.outcomes("", 0.1)[""]["mine"] == {0: pytest.approx(0.6195), 1: 0.1}
    assert list(found.outcomes("")[""]["mine"]) == [0]
    refused = stats(file)
    assert refused.exit_code == 2
    assert "seed 1 of mine diverged; say with --chance" in refused.output
    done = stats(file, "--chance", "0.1")
    assert "Runs that diverged: 1; each counts with 0.1." in done.output
    assert "1 runs that failed or are open are left out." in done.output


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["method,seed"], "no column value; its first line has: method, seed"),
        (["a,b,c"], "no column method and no column seed and no column value"),
        (["method,seed,value,value"], "the column value twice"),
        ([""], "is empty"),
        (["method,seed,value"], "has no rows"),
        (["method,seed,value", "a,0,high"], "line 2: value is 'high'; it must be a finite number"),
        (["method,seed,value", "a,0,nan"], "line 2: value is 'nan'"),
        (["method,seed,value", "a,0,"], "line 2: value is ''"),
        (["method,seed,value", "a,first,1"], "line 2: seed is 'first'; it must be a whole number"),
        (["method,seed,value", "a,1.5,1"], "seed is '1.5'"),
        (["method,seed,value", ",1,1"], "line 2: the method is empty"),
        (["method,seed,value", "a,1"], "line 2: 2 cells under 3 columns"),
        (
            ["method,seed,value", "a,1,1", "b,1,1", "a,1.0,2"],
            "lines 2 and 4 are both method a, seed 1; keep one row",
        ),
        (["method,seed,value", "a,1,1"], "one method only"),
        (["method,seed,value", "a,1,1", "b,1,1"], "say with --baseline what to compare with"),
    ],
)
def test_files_that_make_no_sense_get_one_message(tmp_path, lines, said):
    done = stats(write(tmp_path / "bad.csv", lines), *(["--baseline", "a"] if "one method" in said else []))
    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--baseline", "fedavg", "--metric", "acc"], "--baseline fedavg:"),
        (["--baseline", "erm", "--metric", "acc", "--reference", "x"], "--reference x:"),
        (["--baseline", "erm", "--metric", "acc", "--reference", "erm"], "both --baseline and --reference"),
        (["--baseline", "erm", "--metric", "auc"], "--metric auc:"),
        (["--baseline", "erm"], "has several metrics (acc, loss)"),
        (["--baseline", "erm", "--metric", "acc", "--alpha", "5"], "--alpha is 5.0"),
    ],
)
def test_options_that_do_not_fit_the_file(tmp_path, words, said):
    done = stats(results(tmp_path, metrics=("acc", "loss")), *words)
    assert done.exit_code == 2
    assert said in done.output


def test_no_file_and_no_text(tmp_path):
    assert "there is no file" in stats(tmp_path / "none.csv").output
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00m")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        read(tmp_path / "binary.csv")


def test_without_scipy_there_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr("fedbal.comparison.statistics.find_spec", lambda name: None)
    done = stats(results(tmp_path), "--baseline", "erm")
    assert done.exit_code == 2
    assert "pip install 'fedbal[report]'" in done.output
