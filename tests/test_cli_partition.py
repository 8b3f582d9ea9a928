"""``fedbal partition``: numbers that add up, and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedbal.cli import app
from fedbal.data.federation import load_federation
from fedbal.data.heterogeneity import describe
from fedbal.scenario import load


def partition(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["partition", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_the_table_is_the_partition_that_runs() -> None:
    lines = partition("quickstart", "--set", "seed=3")
    scenario = load("quickstart", ["seed=3"])
    federation = load_federation(scenario.data, 3)
    assert lines[0] == "digits over 20 clients by dirichlet"
    start = next(index for index, line in enumerate(lines) if line.split()[:2] == ["client", "train"])
    found = np.array([[int(cell) for cell in line.split()] for line in lines[start + 1 :]])
    assert found[:, 0].tolist() == list(range(20))
    assert (found[:, 1] == federation.train.sizes).all()
    assert (found[:, 2] == federation.validation.sizes).all()
    assert (found[:, 3] == federation.client_test.sizes).all()
    assert (found[:, 5:] == federation.label_counts()).all()


def test_the_measures_are_those_of_heterogeneity() -> None:
    text = "\n".join(partition("quickstart"))
    scenario = load("quickstart")
    found = describe(load_federation(scenario.data, 0))
    assert f"training rows                       {found.sizes.sum()}" in text
    assert f"median {np.median(found.total_variation):.3f}, from {found.total_variation.min():.3f}" in text
    assert f"global to uniform, total variation  {found.global_total_variation:.3f}" in text
    assert f"{found.gini:.3f}" in text


def test_natural_clients_keep_their_names() -> None:
    assert [line.split()[0] for line in partition("natural-clients")[-4:]] == [
        "coast",
        "hills",
        "north",
        "south",
    ]


def test_many_clients_are_cut_and_a_missing_class_is_said() -> None:
    lines = partition("quickstart", "--set", "data.partition={name: iid, clients: 100}")
    assert lines[-1] == "... and 60 more clients."
    text = "\n".join(
        partition("quickstart", "--set", "data.partition={name: dirichlet, clients: 300, alpha: 0.05}")
    )
    assert "from 0 to" in text


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"clients.{suffix}"
    lines = partition("quickstart", "--plot", str(path))
    assert lines[-1] == f"picture: {path}"
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in content


def test_a_picture_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = CliRunner().invoke(app, ["partition", "quickstart", "--plot", str(tmp_path / "x.png")])
    assert done.exit_code == 2
    assert "pip install 'fedbal[report]'" in done.stderr


def test_a_picture_in_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = CliRunner().invoke(app, ["partition", "quickstart", "--plot", str(tmp_path / "no" / "x.png")])
    assert done.exit_code == 1
    assert "cannot write" in done.stderr


def test_realised_shares_of_groups_are_shown(tmp_path: Path) -> None:
    rows = "".join(f"{number},p{number // 5},{number % 2}\n" for number in range(300))
    (tmp_path / "t.csv").write_text("age,patient,y\n" + rows)
    (tmp_path / "s.yaml").write_text(
        "{name: s, rounds: 1, model: mlp, strategy: fedavg, data: {dataset: table, path: t.csv, "
        "test: 0.2, group: patient, partition: {name: iid, clients: 2}}}"
    )
    (line,) = (line for line in partition(str(tmp_path / "s.yaml")) if line.startswith("groups by patient"))
    assert "48, largest 5 rows; realised" in line
    assert "test 20.0%" in line
