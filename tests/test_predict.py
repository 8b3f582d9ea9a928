"""``fedbal evaluate`` and ``fedbal predict``: the run's numbers again, other tables, and what does not fit."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import fedbal
from fedbal.data.federation import load_federation
from fedbal.errors import UsageError
from fedbal.export import export
from fedbal.predict import evaluate, predict, probabilities
from fedbal.trained import open_trained
from tests.scenarios import digits
from tests.test_cli import call, fails

FEATURES = ["age", "dose", "score"]


def table(
    path, rows=90, seed=0, *, columns=FEATURES, label="state", labels=("ill", "well", "worse"), extra=()
):
    """Write a CSV in which the class moves every feature."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    x = rng.normal(size=(rows, 3)) + 2.0 * y[:, None]
    values = dict(zip(FEATURES, x.T, strict=True))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, *([label] if label else []), *extra])
        for row in range(rows):
            cells = [f"{values[name][row]:.6f}" for name in columns]
            writer.writerow([*cells, *([labels[y[row]]] if label else []), *("1" for _ in extra)])
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return fedbal.run(digits("rounds=2"), tmp_path_factory.mktemp("predict") / "run").directory


@pytest.fixture(scope="module")
def tabular(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    table(folder / "train.csv", 300)
    block = "{dataset: table, path: %s, label: state, test: 0.2, partition: {name: iid, clients: 3}}"
    changes = [f"data={block % (folder / 'train.csv')}", "rounds=15", "cohort.fraction=1.0"]
    return fedbal.run(digits(*changes), folder / "run").directory


def test_the_runs_own_test_set_gives_the_runs_numbers(finished, tabular):
    for directory in (finished, tabular):
        found = json.loads(json.dumps(evaluate(directory)))
        assert found == fedbal.open_run(directory).summary["final"]


def test_a_file_with_the_test_rows_gives_the_same_numbers(finished, tmp_path):
    dataset = load_federation(digits().data, 0).dataset
    np.savez(tmp_path / "test.npz", x=dataset.x_test[:, 0], y=dataset.y_test)
    assert evaluate(finished, str(tmp_path / "test.npz")) == evaluate(finished)


def test_another_table_is_evaluated_whole(tabular, tmp_path):
    found = evaluate(tabular, str(table(tmp_path / "new.csv", 60, seed=1)))
    assert found["samples"] == 60
    assert found["balanced_accuracy"] > 0.8


def test_columns_may_stand_in_another_order_and_beside_others(tabular, tmp_path):
    straight = table(tmp_path / "a.csv", 40, seed=2)
    turned = table(tmp_path / "b.csv", 40, seed=2, columns=["score", "age", "dose"], extra=["note"])
    assert evaluate(tabular, str(turned)) == evaluate(tabular, str(straight))


def test_another_label_column(tabular, tmp_path):
    path = table(tmp_path / "new.csv", 40, seed=3, label="diagnosis")
    assert evaluate(tabular, str(path), label="diagnosis")["samples"] == 40
    with pytest.raises(UsageError, match="unknown label column 'state'"):
        evaluate(tabular, str(path))


def test_a_data_block_and_set_name_other_data(tabular, tmp_path):
    other = table(tmp_path / "other.csv", 100, seed=4)
    block = f"{{dataset: table, path: {other}, label: state, test: 0.5, partition: iid}}"
    by_block = evaluate(tabular, block)
    assert by_block["samples"] == 50
    by_set = evaluate(tabular, overrides=[f"data.path={other}", "data.test=0.5"])
    assert by_set == by_block


def test_the_runs_data_divided_anew_are_refused(tabular, finished):
    for directory in (tabular, finished):
        with pytest.raises(UsageError, match="rows that the model was trained on"):
            evaluate(directory, overrides=["data.test=0.5"])
        with pytest.raises(UsageError, match="rows that the model was trained on"):
            evaluate(directory, overrides=["seed.partition=1"])
    assert evaluate(finished, overrides=["data.client_test=0.2"]) == evaluate(finished)


def test_predictions_are_the_models(tabular, tmp_path):
    path = table(tmp_path / "new.csv", 25, seed=5, label=None)
    done = call("predict", str(tabular), "--data", str(path), "--out", str(tmp_path / "p.csv"))
    assert done.exit_code == 0, done.output
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "class", "p_ill", "p_well", "p_worse"]
    assert [row["row"] for row in rows] == [str(number) for number in range(25)]
    with path.open() as file:
        x = np.array([[float(row[name]) for name in FEATURES] for row in csv.DictReader(file)], np.float32)
    expected = probabilities(open_trained(tabular).logits(x))
    found = np.array([[float(row[f"p_{name}"]) for name in ("ill", "well", "worse")] for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert [row["class"] for row in rows] == [("ill", "well", "worse")[k] for k in expected.argmax(1)]


def test_predictions_over_several_batches_count_every_row(finished, tmp_path):
    x = np.random.default_rng(0).integers(0, 17, (1100, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "many.npz", x=x)
    assert predict(finished, tmp_path / "many.npz", tmp_path / "p.csv") == 1100
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 1101


def test_probabilities_by_hand():
    found = probabilities(np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]], np.float32))
    np.testing.assert_allclose(found, [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)


def test_what_does_not_fit_is_refused(tabular, finished, tmp_path):
    lacking = table(tmp_path / "lacking.csv", 10, columns=["age", "dose"])
    assert "lacks 1 of the 3 columns that the model reads: score" in fails(
        2, "evaluate", str(tabular), "--data", str(lacking)
    )
    strange = table(tmp_path / "strange.csv", 30, labels=("ill", "well", "dead"))
    assert "label 'dead' is none of the classes ill, well, worse" in fails(
        2, "evaluate", str(tabular), "--data", str(strange)
    )
    np.savez(tmp_path / "small.npz", x=np.zeros((3, 4, 8), np.uint8), y=np.arange(3))
    assert "a row is uint8 (1, 4, 8), the model was trained on uint8 (1, 8, 8)" in fails(
        2, "evaluate", str(finished), "--data", str(tmp_path / "small.npz")
    )
    assert "the model was trained on images" in fails(2, "evaluate", str(finished), "--data", str(lacking))
    assert "the shape of an input" in fails(2, "evaluate", str(finished), "--data", "{dataset: synthetic}")
    assert "no file" in fails(2, "evaluate", str(finished), "--data", "nothing.csv")
    assert "--set changes the scenario" in fails(
        2, "evaluate", str(tabular), "--data", str(strange), "--set", "rounds=1"
    )
    assert "neither a file nor a YAML block" in fails(2, "evaluate", str(finished), "--data", "{a: [")
    assert "--label names the label column of a file" in fails(2, "evaluate", str(finished), "--label", "y")


def test_text_and_gaps_in_a_feature_are_refused(tabular, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("age,dose,score\n1,2,high\n")
    assert "columns 'score' are not numeric" in fails(
        2, "predict", str(tabular), "--data", str(path), "--out", str(tmp_path / "p.csv")
    )
    path.write_text("age,dose,score\n1,2,3\n1,,3\n")
    assert "dose (1)" in fails(
        2, "predict", str(tabular), "--data", str(path), "--out", str(tmp_path / "p.csv")
    )
    assert not (tmp_path / "p.csv").exists()


def test_nothing_is_overwritten(tabular, tmp_path):
    path = table(tmp_path / "new.csv", 10, label=None)
    before = path.read_bytes()
    assert "new.csv exists" in fails(2, "predict", str(tabular), "--data", str(path), "--out", str(path))
    assert path.read_bytes() == before


def test_the_command_prints_every_number_and_recall(tabular, tmp_path):
    path = str(table(tmp_path / "new.csv", 60, seed=1))
    found = evaluate(tabular, path)
    text = call("evaluate", str(tabular), "--data", path).stdout
    assert f"balanced accuracy   {found['balanced_accuracy']:.4f}" in text
    for name, recall in zip(("ill", "well", "worse"), found["per_class_recall"], strict=True):
        assert any(line.split() == [name, f"{recall:.4f}"] for line in text.splitlines())
    printed = call("evaluate", str(tabular), "--data", path, "--json").stdout
    assert json.loads(printed) == json.loads(json.dumps(found))


def test_missing_values_are_replaced_as_in_training(tmp_path):
    """With imputation a row with a gap is the row with the federation's median in it."""
    lines = table(tmp_path / "train.csv", 300).read_text().splitlines()
    lines[3] = "," + lines[3].split(",", 1)[1]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    block = f"{{dataset: table, path: {tmp_path}/train.csv, label: state, test: 0.2, "
    block += "partition: {name: iid, clients: 3}, "
    block += "preprocess: {impute: median, scale: standard, fit: federated}}"
    result = fedbal.run(digits(f"data={block}", "rounds=2"), tmp_path / "run")
    assert evaluate(tmp_path / "run") == result.summary["final"]
    fill = open_trained(tmp_path / "run").task.preparation.fill[0]
    (tmp_path / "gap.csv").write_text(f"age,dose,score\n,1,2\n{fill!r},1,2\n")
    predict(tmp_path / "run", tmp_path / "gap.csv", tmp_path / "p.csv")
    first, second = [line.split(",")[1:] for line in (tmp_path / "p.csv").read_text().splitlines()[1:]]
    assert first == second
    export(tmp_path / "run", "torchscript", tmp_path / "m.pt")
    module = torch.jit.load(str(tmp_path / "m.pt"))
    x = torch.tensor([[torch.nan, 1.0, 2.0]])
    expected = [float(value) for value in first[1:]]
    np.testing.assert_allclose(torch.softmax(module(x), 1)[0].numpy(), expected, rtol=1e-4)


def test_texts_are_read_as_the_categories_of_training(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.4f},{'abc'[k % 3]},{['ill', 'well'][k % 3 == 0]}" for k in range(240)]
    (tmp_path / "train.csv").write_text("\n".join(["age,ward,state", *rows]) + "\n")
    block = f"{{dataset: table, path: {tmp_path}/train.csv, label: state, test: 0.2, "
    block += "partition: {name: iid, clients: 3}}"
    fedbal.run(digits(f"data={block}", "rounds=10", "cohort.fraction=1.0"), tmp_path / "run")
    (tmp_path / "new.csv").write_text("ward,age\na,0.1\nb,0.1\n")
    predict(tmp_path / "run", tmp_path / "new.csv", tmp_path / "p.csv")
    assert [line.split(",")[1] for line in (tmp_path / "p.csv").read_text().splitlines()[1:]] == [
        "well",
        "ill",
    ]
    (tmp_path / "new.csv").write_text("ward,age\nz,0.1\n")
    assert "holds 'z', which is none of its levels" in fails(
        2,
        "predict",
        str(tmp_path / "run"),
        "--data",
        str(tmp_path / "new.csv"),
        "--out",
        str(tmp_path / "q.csv"),
    )
