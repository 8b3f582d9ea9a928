"""``fedbal init``: what it finds in a table or image folder, and the scenario that it writes."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import fedbal
from fedbal.errors import UsageError
from fedbal.inspection import inspect, label_candidates
from fedbal.leakage import auc, giveaway, partly
from fedbal.scenario import load
from fedbal.sources import read_source
from tests.test_cli import call, fails

SITES = {"north": 200, "south": 160, "east": 120, "west": 40}


def columns(seed: int = 0) -> dict[str, list[Any]]:
    """Four hospitals with a noisy signal, and every kind of column that should be noticed."""
    rng = np.random.default_rng(seed)
    site = np.repeat(list(SITES), list(SITES.values()))
    n = len(site)
    y = (rng.random(n) < 0.25).astype(int)
    return {
        "patient": [f"P{number:04d}" for number in range(n)],
        "age": rng.integers(20, 90, n).tolist(),
        "marker": np.round(rng.normal(size=n) + 1.2 * y, 4).tolist(),
        "pressure": np.round(rng.normal(120, 15, n), 2).tolist(),
        "ward": rng.choice(["A", "B", "C"], n).tolist(),
        "unit": ["mg"] * n,
        "discharge": [["home", "follow-up"][label] for label in y],
        "score": np.round(y * 10 + rng.normal(size=n), 4).tolist(),
        "site": site.tolist(),
        "diagnosis": [["healthy", "ill"][label] for label in y],
    }


def write(path: Path, values: Mapping[str, Sequence[Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(values)
        writer.writerows(zip(*values.values(), strict=True))
    return path


@pytest.fixture
def hospitals(tmp_path):
    values = columns()
    for row in range(0, 100, 5):
        values["pressure"][row] = ""
    for name in set(values) - {"patient"}:
        values[name][1] = values[name][0]
        values[name][-1] = values[name][2]
    values["site"][-1] = "west"
    return write(tmp_path / "hospitals.csv", values)


@pytest.fixture
def found(hospitals):
    return inspect(read_source(hospitals), "diagnosis", "site")


def test_classes_and_imbalance(found):
    assert list(found.classes) == ["healthy", "ill"]
    assert sum(found.classes.values()) == found.rows == 520
    assert found.imbalance_factor == found.classes["healthy"] / found.classes["ill"]


def test_missing_values_by_column(found):
    assert found.missing == {"pressure": 21}


def test_clients_and_those_too_small_to_judge(found):
    assert found.clients == {"east": 120, "north": 200, "south": 160, "west": 40}
    # 0.8 of the rows stay after the global test set, 0.2 of those are the client's own test rows.
    assert found.too_small == {"east": 19, "south": 26, "west": 6}


def test_duplicates_within_and_over_clients(found):
    assert found.duplicates.within == 1
    assert found.duplicates.across == 2
    assert found.duplicates.conflicting == 0


def test_duplicates_under_different_labels(tmp_path):
    values = columns()
    for name in set(values) - {"patient", "diagnosis"}:
        values[name][1] = values[name][0]
    values["diagnosis"][:2] = ["ill", "healthy"]
    found = inspect(read_source(write(tmp_path / "t.csv", values)), "diagnosis", "site")
    assert found.duplicates.conflicting == 2


def test_what_each_column_is(found):
    assert {"age", "marker", "pressure", "ward"} == set(found.columns.features)
    assert found.columns.categories == {"ward": 3}
    assert found.columns.constant == {"unit": "has one value only"}
    assert list(found.columns.ids) == ["patient"]
    assert set(found.columns.leaks) == {"discharge", "score"}
    assert found.columns.leaks["discharge"] == "each of its 2 values goes with one class only"
    assert "separates the two classes without error" in found.columns.leaks["score"]


def test_the_scenario_is_valid_commented_and_names_the_columns(hospitals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("init", "hospitals.csv", "--label", "diagnosis", "--client", "site")
    assert done.exit_code == 0, done.output
    text = Path("hospitals.yaml").read_text()
    scenario = load("hospitals.yaml")
    assert scenario.data.partition.partition_by == "site"
    assert set(scenario.data.features) >= {"age", "marker", "pressure"}
    assert not {"discharge", "score", "patient", "unit"} & set(scenario.data.features)
    assert (scenario.data.preprocess.impute, scenario.data.preprocess.scale) == ("median", "standard")
    assert re.search(
        r"# - discharge .*each of its 2 values goes with one class only.*gives the label away", text
    )
    assert re.search(r"# - patient .*identifies rows", text)
    assert "imbalance factor" in text
    assert "3 of 4 clients have fewer than 30 test samples" in text
    assert yaml.safe_load(text)["data"]["path"] == "hospitals.csv"
    assert call("validate", "hospitals.yaml").exit_code == 0


def test_what_is_printed(hospitals, tmp_path):
    out = str(tmp_path / "my.yaml")
    done = call("init", str(hospitals), "--label", "diagnosis", "--client", "site", "--out", out)
    assert "520 rows, 10 columns" in done.stdout
    assert re.search(r"^healthy +\d+ +\d+\.\d %$", done.stdout, re.MULTILINE)
    assert re.search(r"^pressure +21 +4\.0 %$", done.stdout, re.MULTILINE)
    assert re.search(r"^west +40$", done.stdout, re.MULTILINE)
    assert "'discharge' each of its 2 values goes with one class only" in done.stdout
    assert "'unit' has one value only" in done.stdout
    assert (
        "too small to judge alone, with fewer than 30 test samples: east (19), south (26), west (6)"
        in done.stderr
    )
    assert "rows that several clients hold" in done.stderr
    assert f"fedbal run {out}" in done.stdout


def test_the_scenario_runs_and_is_used(tmp_path):
    values = columns()
    for row in range(0, 100, 5):
        values["pressure"][row] = ""
    path = write(tmp_path / "clean.csv", values)
    out = tmp_path / "sub" / "my.yaml"
    done = call("init", str(path), "--label", "diagnosis", "--client", "site", "--out", str(out))
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(out.read_text())["data"]["path"] == "../clean.csv"
    result = fedbal.run(fedbal.load(out, rounds=3, runtime__backend="inprocess"), tmp_path / "run")
    assert result.status == "finished"
    assert sorted(result.clients["client"].unique()) == sorted(SITES)
    assert call("evaluate", str(tmp_path / "run"), "--data", str(path)).exit_code == 0
    done = call("predict", str(tmp_path / "run"), "--data", str(path), "--out", str(tmp_path / "p.csv"))
    assert done.exit_code == 0
    assert call("export", str(tmp_path / "run"), "--format", "torchscript").exit_code == 0


def test_without_a_client_column_clients_are_simulated(hospitals, tmp_path):
    out = tmp_path / "my.yaml"
    done = call("init", str(hospitals), "--label", "diagnosis", "--out", str(out))
    assert "perhaps --client 'site'?" in done.stdout
    assert load(out).data.partition.name == "dirichlet"
    assert "natural_id, partition_by: COLUMN" in out.read_text()


def test_without_a_label_candidates_are_named(hospitals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stderr = fails(2, "init", str(hospitals))
    assert "as in --label 'diagnosis'" in stderr
    for name in ("discharge (2 values)", "ward (3 values)", "site (4 values)"):
        assert name in stderr
    assert "patient" not in stderr.split("it may be")[1]
    assert not Path("hospitals.yaml").exists()
    assert label_candidates(read_source(hospitals))[0] == ("diagnosis", 2)


def test_nothing_is_overwritten(hospitals, tmp_path):
    out = tmp_path / "my.yaml"
    out.write_text("mine")
    assert "my.yaml exists" in fails(2, "init", str(hospitals), "--label", "diagnosis", "--out", str(out))
    assert out.read_text() == "mine"
    assert "a scenario is a .yaml file" in fails(2, "init", str(hospitals), "--out", str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--label", "diagnosos"], "did you mean diagnosis?"),
        (["--label", "diagnosis", "--client", "sit"], "did you mean site"),
        (["--label", "patient"], "520 distinct values in 520 rows"),
        (["--label", "pressure"], "21 of 520 rows have no 'pressure'"),
        (["--label", "marker"], "whole numbers"),
    ],
)
def test_wrong_columns(arguments, fragment, hospitals, tmp_path):
    assert fragment in fails(2, "init", str(hospitals), *arguments, "--out", str(tmp_path / "x.yaml"))
    assert not (tmp_path / "x.yaml").exists()


def test_files_that_are_none(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "folder").mkdir()
    for name, fragment in (
        ("a.txt", ".txt is none of these"),
        ("no.csv", "there is no such file"),
        ("empty.csv", "has no rows"),
        ("folder", "no images"),
    ):
        stderr = fails(2, "init", str(tmp_path / name), "--label", "b", "--out", str(tmp_path / "x.yaml"))
        assert fragment in stderr


@pytest.mark.parametrize("name", ["no", "1.5", "a: b", "x # y", "été", "two words", "y", '"quoted"'])
def test_strange_column_names_come_back_as_they_are(name, tmp_path):
    rng = np.random.default_rng(0)
    values = {
        name: rng.normal(size=80).tolist(),
        "n": ["c"] * 80,
        "label": (rng.random(80) < 0.5).astype(int),
    }
    out = tmp_path / "my.yaml"
    call("init", str(write(tmp_path / "t.csv", values)), "--label", "label", "--out", str(out))
    assert load(out).data.features == [name]


def test_a_parquet_table(hospitals, tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    values = columns()
    pq.write_table(pa.table(values), tmp_path / "t.parquet")
    write(tmp_path / "t.csv", values)
    sides = [inspect(read_source(tmp_path / f"t.{kind}"), "diagnosis", "site") for kind in ("parquet", "csv")]
    assert sides[0].classes == sides[1].classes
    assert sides[0].columns == sides[1].columns
    assert sides[0].duplicates == sides[1].duplicates


def test_an_npz_table_with_names(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3)).astype(np.float32)
    y = rng.integers(0, 3, 120)
    x[:, 2] = y
    np.savez(tmp_path / "t.npz", x=x, y=y, user=np.arange(120) % 6, columns=np.array(["a", "b", "copy"]))
    out = tmp_path / "my.yaml"
    done = call("init", str(tmp_path / "t.npz"), "--label", "y", "--client", "user", "--out", str(out))
    assert done.exit_code == 0, done.output
    assert load(out).data.features == ["a", "b"]
    assert "'copy' each of its 3 values goes with one class only" in done.stdout


def test_npz_images_get_a_network_of_their_size(tmp_path):
    rng = np.random.default_rng(0)
    for size, model in ((28, "cnn"), (8, "mlp")):
        x = rng.integers(0, 256, (60, size, size), dtype=np.uint8)
        x[1] = x[0]
        np.savez(tmp_path / f"i{size}.npz", x=x, y=np.arange(60) % 2)
        out = tmp_path / f"i{size}.yaml"
        done = call("init", str(tmp_path / f"i{size}.npz"), "--label", "y", "--out", str(out))
        assert done.exit_code == 0, done.output
        scenario = load(out)
        assert scenario.model.name == model
        assert scenario.data.features is None
        assert "duplicate rows: 1; 2 of them under different labels" in done.stdout
        result = fedbal.run(fedbal.load(out, rounds=1, data__partition="iid"), tmp_path / f"run{size}")
        assert result.status == "finished"


def test_auc_by_hand():
    scores, truth = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])
    # Pairs: (0.4 > 0.1), (0.4 = 0.4, a half), (0.8 > both): 3.5 of 4.
    assert auc(scores, truth) == pytest.approx(3.5 / 4.0)


def test_a_good_but_honest_column_is_kept():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    values = rng.normal(size=2000) + 2.0 * y
    present = np.ones(2000, bool)
    assert auc(values, y == 1) > 0.9
    assert giveaway(values, values, present, y) == ""


def test_a_column_that_separates_several_classes_is_named():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 2000)
    values = 10.0 * ((y * 3) % 4) + rng.normal(size=2000)
    assert "balanced accuracy" in giveaway(values, values, np.ones(2000, bool), y)


def test_a_rare_class_does_not_make_every_column_a_giveaway():
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.005).astype(int)
    flag = rng.integers(0, 2, 3000).astype(float)
    assert giveaway(flag, flag, np.ones(3000, bool), y) == ""


def test_one_class_of_several_given_away_is_a_warning(tmp_path):
    values = columns()
    rng = np.random.default_rng(1)
    severity = [0 if name == "healthy" else int(rng.integers(1, 4)) for name in values["diagnosis"]]
    known = [int(level > 0) for level in severity]
    path = write(tmp_path / "t.csv", {"age": values["age"], "known": known, "severity": severity})
    out = tmp_path / "my.yaml"
    done = call("init", str(path), "--label", "severity", "--out", str(out))
    assert "'known' alone tells class 0 from all others without error" in done.stderr
    assert "alone tells class 0" in out.read_text()
    assert (
        partly(
            np.array(values["age"], float), np.array(values["age"]), np.ones(520, bool), np.array(severity)
        )
        is None
    )


def test_everything_left_out_is_refused(tmp_path):
    values = columns()
    path = write(tmp_path / "t.csv", {key: values[key] for key in ("patient", "discharge", "diagnosis")})
    out = str(tmp_path / "x.yaml")
    assert (
        "no column is left to learn from"
        in call("init", str(path), "--label", "diagnosis", "--out", out).stderr
    )
    with pytest.raises(UsageError):
        load(out)


def test_a_column_that_groups_rows_is_no_feature_and_is_offered_as_group(tmp_path):
    values = columns()
    values["patient"] = [f"P{number // 4}" for number in range(520)]
    out = tmp_path / "my.yaml"
    done = call("init", str(write(tmp_path / "t.csv", values)), "--label", "diagnosis", "--out", str(out))
    assert "'patient' names 130 groups of rows" in done.stdout
    assert "patient" not in load(out).data.features
    out.write_text(out.read_text().replace("# group: patient", "group: patient"))
    assert load(out).data.group == "patient"


@pytest.mark.parametrize("own_test", [False, True])
def test_a_folder_of_images(own_test, tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for part in ("train", "test") if own_test else (".",):
        for name, count in (("cat", 30), ("dog", 12)):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                image.fromarray(pixels).save(tmp_path / "photos" / part / name / f"{number}.png")
    out = tmp_path / "my.yaml"
    done = call("init", str(tmp_path / "photos"), "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "42 rows" in done.stdout
    assert "imbalance factor 2.5" in done.stdout
    assert ("\n  test: 0.2" in out.read_text()) != own_test
    changes = {"rounds": 1, "data.partition": {"name": "iid", "clients": 2}}
    assert fedbal.run(fedbal.load(out, changes), tmp_path / "run").status == "finished"
    assert "leave --label and --client out" in fails(
        2, "init", str(tmp_path / "photos"), "--label", "x", "--out", str(tmp_path / "x.yaml")
    )
