"""Calibration: from measurements to a table, and the command around it."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from fedbal import calibrate as calibration
from fedbal.calibrate import CASES, Case, Timing, calibrate, rows_of
from fedbal.cli import app
from fedbal.cost_file import read_costs
from fedbal.costs import Cost, best
from fedbal.engine import compiler

SMALL = (Case("logistic", "logistic", (5,), (2, 3)), Case("mlp", "mlp", (5,), (2,), {"hidden": [3]}))


def timings(layers, parameters, loop, **chunks):
    found = [Timing("case", layers, parameters, "loop", 1, loop)]
    for name, milliseconds in chunks.items():
        kind, chunk = name.split("_")
        found.append(Timing("case", layers, parameters, kind, int(chunk), milliseconds))
    return found


def test_the_fastest_chunk_wins_and_the_smallest_that_pays_is_the_fewest():
    found = rows_of(
        [
            *timings(
                "dense", 100, 1.0, vectorized_4=0.97, vectorized_10=0.5, vectorized_50=0.1, vectorized_99=0.2
            ),
            *timings("dense", 10_000, 3.0, vectorized_4=2.0, vectorized_10=2.5, compiled_10=0.1),
            *timings("convolutional", 5_000, 9.0, vectorized_4=8.9, vectorized_10=12.0),
        ],
        "cpu",
    )
    assert found == (
        Cost("cpu", ("dense",), 1_000, 50, 10),
        Cost("cpu", ("dense",), 100_000, 4, 4),
        Cost("cpu", ("convolutional",), 10_000, 1, 2),
    )
    assert best("cpu", "dense", 500, 200, found) == 50
    assert best("cpu", "dense", 20_000, 200, found) == 4
    assert best("cpu", "convolutional", 5_000, 200, found) is None
    assert best("cpu", "dense", 200_000, 200, found) is None


def test_a_machine_is_measured():
    told = []
    found = calibrate("cpu", told.append, cases=SMALL, repeats=1)
    assert told == found
    assert [(one.case, one.kind, one.chunk) for one in found] == [
        ("logistic", "loop", 1),
        ("logistic", "vectorized", 2),
        ("logistic", "vectorized", 3),
        ("mlp", "loop", 1),
        ("mlp", "vectorized", 2),
    ]
    assert [one.parameters for one in found] == [60, 60, 60, 58, 58]
    assert all(one.milliseconds > 0 for one in found)


def test_a_chunk_that_does_not_fit_ends_the_search(monkeypatch):
    whole = calibration.train_cohort

    def small(trainer, jobs, engine):
        if len(jobs) > 2 and engine.together:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(trainer, jobs, engine)

    monkeypatch.setattr(calibration, "train_cohort", small)
    found = calibrate("cpu", lambda _: None, cases=SMALL[:1], repeats=1)
    assert [one.chunk for one in found] == [1, 2]


def test_shipped_cases_are_ordered_and_cover_both_kinds():
    assert all(list(case.chunks) == sorted(set(case.chunks)) for case in CASES)
    assert {case.model for case in CASES} == {"logistic", "mlp", "cnn"}


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
def test_compiled_steps_are_measured_where_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(calibration, "_seconds", lambda *a: asked.append(a[2].kind) or 1.0)
    case = Case("logistic", "logistic", (5,), (2,), compiled=True)
    calibrate("cpu", lambda _: None, cases=[case])
    calibrate("cpu", lambda _: None, cases=[case], compiled=False)
    assert asked == ["loop", "vectorized", "compiled", "loop", "vectorized"]


def test_the_command_prints_a_table_and_writes_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "CASES", SMALL)
    out = tmp_path / "costs.yaml"
    arguments = ["calibrate", "--device", "cpu", "--repeats", "1", "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "loop/at once" in done.stdout
    assert "logistic: one by one:" in done.stderr
    assert "runtime.costs=" in done.stdout
    assert {row.device for row in read_costs(str(out))} == {"cpu", "cuda"}
    assert "# " in out.read_text()


def test_the_command_teaches():
    text = CliRunner().invoke(app, ["calibrate", "--help"]).stdout
    assert "Examples" in text
    assert "runtime.costs" in text


def test_what_cannot_be_done_is_one_message(tmp_path, monkeypatch):
    monkeypatch.setattr("fedbal.backend.cuda_is_there", lambda: False)
    there = tmp_path / "there.yaml"
    there.write_text("")
    for arguments, message in (
        (["--device", "cuda"], "torch finds no CUDA device here"),
        (["--out", str(there)], "exists; name another file"),
    ):
        done = CliRunner().invoke(app, ["calibrate", *arguments])
        assert done.exit_code == 2
        assert message in done.stderr
