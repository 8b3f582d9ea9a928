"""The speed benchmark: tables and verdicts from fixed numbers, and one tiny run of one case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.speed import cli, gpu, measure, report, rows, tables
from benchmarks.speed.cases import CASES
from benchmarks.speed.population import Numbered, federation_of, repeated
from benchmarks.speed.prepare import prepare
from benchmarks.speed.runner import Options, reused, run_case


def run(
    milliseconds: float, accuracy: float | None = 0.8, *, cohort: int = 100, **changes: Any
) -> dict[str, Any]:
    """One repeat that took ``milliseconds`` a client."""
    values = {"round": milliseconds * cohort / 1e3, "start": 2.0, "accuracy": accuracy, "memory": 300e6}
    return measure.Run(10.0, **{**values, **changes}).to_dict()


def row(runs: list[dict[str, Any]], workers: int = 1, skipped: str | None = None) -> dict[str, Any]:
    return {"workers": workers, "scale": 1.0, "choice": "", "skipped": skipped, "runs": runs}


@pytest.fixture
def content() -> dict[str, Any]:
    """A result of the small case: vectorized 0.15 ms, hand 0.6, pfl 1.8, Flower 6 on two processes."""
    return {
        "machine": {"processor": "Some CPU", "cores": 2, "gpu": None, "load": 0.5},
        "versions": {"Python": "3.11.7", "flwr": "1.41.0"},
        "repeats": 3,
        "quick": False,
        "cases": {
            "small": {
                "title": "small one",
                "unit": "client",
                "cohort": 100,
                "clients": 1000,
                "rounds": 5,
                "tolerance": 0.03,
                "rows": {
                    "fedbal vectorized": row([run(0.1), run(0.15), run(0.4)]),
                    "fedbal compiled": row([], skipped="there is no C++ compiler"),
                    "hand loop": row([run(0.6)]),
                    "pfl-research": row([run(1.8)]),
                    "Flower's engine": row([run(6.0)], workers=2),
                },
            }
        },
    }


def by_text(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["text"]: one for one in report.verdicts(content)}


def test_figures_are_medians_over_repeats(content: dict[str, Any]) -> None:
    line = report.lines(content["cases"]["small"])[0]
    assert (line.value, line.low, line.high) == pytest.approx((0.15, 0.1, 0.4))
    assert line.memory == 300e6


def test_targets_are_judged_by_rows_of_the_same_run(content: dict[str, Any]) -> None:
    found = by_text(content)
    assert found["ms a client update, vectorized"]["met"] is True
    assert found["times Flower's engine, vectorized"]["value"] == pytest.approx(40)
    assert found["times pfl on one core, vectorized"]["value"] == pytest.approx(12)
    assert found["times the hand loop on one core, vectorized"]["met"] is True
    assert found["times the hand loop on one core, compiled"]["met"] is None


def test_a_target_that_is_missed_is_not_met(content: dict[str, Any]) -> None:
    content["cases"]["small"]["rows"]["Flower's engine"] = row([run(1.5)], workers=2)
    found = by_text(content)["times Flower's engine, vectorized"]
    assert found["value"] == pytest.approx(10)
    assert found["met"] is False


def test_another_accuracy_meets_no_target(content: dict[str, Any]) -> None:
    content["cases"]["small"]["rows"]["fedbal vectorized"] = row([run(0.15, accuracy=0.7)])
    assert not any(one["met"] for one in report.verdicts(content))
    assert "another accuracy" in tables.text(content)


def test_markdown_has_a_line_for_each_row_and_target(content: dict[str, Any]) -> None:
    text = tables.text(content, markdown=True)
    assert "| fedbal vectorized | 1 | 0.15 | 0.1-0.4 | 40 | 4 | 2 | 300 | 0.800 |  |" in text
    assert "there is no C++ compiler" in text
    assert "| small | times Flower's engine, vectorized | >= 30 | 40 | met |" in text
    assert "no GPU" in text
    assert "GPU MB" not in text


def test_quick_sizes_are_not_judged(content: dict[str, Any]) -> None:
    content["quick"] = True
    text = tables.text(content)
    assert "no target is judged" in text
    assert "times Flower's engine" not in text


def test_targets_of_the_gpu_are_those_of_its_own_cases(content: dict[str, Any]) -> None:
    case = content["cases"].pop("small")
    case["rows"]["fedbal cohort"] = row([run(0.3)])
    case["rows"]["centralised"] = row([run(0.18, accuracy=None)])
    content["cases"]["gpu-cifar"] = case
    found = {one["text"]: one["value"] for one in report.verdicts(content, gpu.targets())}
    assert found == {
        "times Flower's engine": pytest.approx(20),
        "times pfl": pytest.approx(6),
        "share of centralised training": pytest.approx(0.6),
    }


def test_a_gpu_is_asked_for_by_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        gpu.main([])
    assert stop.value.code == 2
    assert "--tiny" in capsys.readouterr().err


def test_tiny_cases_of_the_gpu_can_be_prepared(tmp_path: Path) -> None:
    for case in gpu.cases((1, 2), gpu=False):
        folder = prepare(gpu.tiny(case), tmp_path / case.name)
        assert np.load(folder / "x.npy").shape[1:] == (3, 32, 32)
        assert np.load(folder / "cohorts.npy").shape == (3, 3)


def test_a_failed_row_says_why(content: dict[str, Any]) -> None:
    failed = measure.Run(1.0, error="exit code 1: boom").to_dict()
    content["cases"]["small"]["rows"]["pfl-research"] = row([failed])
    assert "failed: exit code 1: boom" in tables.text(content)
    assert by_text(content)["times pfl on one core, vectorized"]["met"] is None


def test_totals_are_scaled_to_what_was_asked_for() -> None:
    runs = [measure.Run(30.0, accuracy=0.8).to_dict()]
    case = {"title": "", "unit": "total", "cohort": 1, "clients": 0, "rounds": 1, "tolerance": 0.03}
    rows_of = {rows.SWEEP.name: row([measure.Run(20.0).to_dict()]), rows.ONE_BY_ONE.name: row(runs)}
    rows_of[rows.ONE_BY_ONE.name]["scale"] = 5.0
    content = {"cases": {"sweep": {**case, "rows": rows_of}}}
    assert by_text(content)["times one by one"]["value"] == pytest.approx(7.5)


def test_warm_rounds_are_start_up() -> None:
    result = {"ends": [105.0, 106.0, 106.5, 107.0], "accuracy": 0.5, "engine": "loop"}
    found = measure.summarise(result, 100.0, 9.0, 2, 1000)
    assert found.start == pytest.approx(5.0)
    assert found.round == pytest.approx(0.5)
    assert found.details == {"engine": "loop"}
    assert measure.summarise(result, 100.0, 9.0, 4, None).round is None


def test_memory_counts_what_is_shared_once() -> None:
    import os

    used = measure.used_bytes([os.getpid()])
    assert 10e6 < used < 100e9
    assert measure.used_bytes([os.getpid(), os.getpid()]) < 2 * used
    assert measure.used_bytes([]) == 0


def test_every_row_of_a_population_shares_the_pool() -> None:
    shards = repeated(clients=5, samples=4, pool=8)
    assert shards.of(0).tolist() == [0, 1, 2, 3]
    assert shards.of(1).tolist() == [4, 5, 6, 7]
    assert shards.of(4).tolist() == shards.of(0).tolist()
    with pytest.raises(ValueError, match="no multiple"):
        repeated(2, 3, 8)
    assert list(Numbered(12)[-2:]) == ["10", "11"]
    assert Numbered(12)[-1] == "11"


def test_peers_get_the_data_cohorts_and_weights_of_the_scenario(tmp_path: Path) -> None:
    folder = prepare(cli.quick(CASES["small"]), tmp_path / "task")
    plan = json.loads((folder / "task.json").read_text())
    offsets, picked = np.load(folder / "offsets.npy"), np.load(folder / "rows.npy")
    assert plan == {
        "model": "mlp",
        "batch_size": 10,
        "epochs": 1,
        "lr": 0.1,
        "mu": 0.0,
        "cohort": 5,
        "seed": 0,
    }
    assert np.diff(offsets).tolist() == [40] * 20
    assert sorted(picked) == list(range(800))
    cohorts = np.load(folder / "cohorts.npy")
    assert cohorts.shape == (6, 5)
    assert all(len(set(cohort)) == 5 for cohort in cohorts.tolist())
    with np.load(folder / "initial.npz") as weights:
        assert [weights[f"w{n}"].shape for n in range(4)] == [(64, 64), (64,), (10, 64), (10,)]


def test_a_population_is_made_of_one_pool(tmp_path: Path) -> None:
    folder = prepare(cli.quick(CASES["population-10k"]), tmp_path / "task")
    federation = federation_of(folder)
    assert federation.num_clients == 200
    assert federation.train.sizes.tolist() == [40] * 200
    assert len(federation.dataset.y) == 200 * 40


def test_fedbal_and_the_hand_loop_reach_the_same_model(tmp_path: Path) -> None:
    case = cli.quick(CASES["small"])
    options = Options(1, tmp_path / "cache", rows=(rows.LOOP.name, rows.HAND.name, rows.PFL.name))
    said: list[str] = []
    found = run_case(case, options, said.append)
    loop, hand = found["rows"][rows.LOOP.name]["runs"][0], found["rows"][rows.HAND.name]["runs"][0]
    assert loop["error"] is None
    assert hand["error"] is None
    assert loop["round"] > 0
    assert loop["start"] > 0
    # Another order of minibatches: equal but for that.
    assert hand["accuracy"] == pytest.approx(loop["accuracy"], abs=0.05)
    assert hand["loss"] == pytest.approx(loop["loss"], rel=0.02)
    pfl = found["rows"][rows.PFL.name]
    assert pfl["runs"] or pfl["skipped"] == "pfl is not installed"


def test_rows_that_were_measured_serve_a_second_case() -> None:
    names = [one.name for one in CASES["startup"].rows]
    earlier = {"title": "small", "rows": {name: {"runs": [name]} for name in [*names, "other"]}}
    found = reused(CASES["startup"], {"small": earlier})
    assert found is not None
    assert list(found["rows"]) == names
    assert reused(CASES["startup"], {}) is None
    assert reused(CASES["small"], {"small": earlier}) is None


def test_a_failing_command_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    found = measure.run_once(("benchmarks.speed.peers", "nobody"), None, 1, 0, cache=tmp_path)
    assert found.error is not None
    assert "name one of hand" in found.error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repeats", "-1"], "at least 1"),
        (["--row", "warp drive"], "no row of these cases"),
        (["--markdown", "nowhere.json"], "no result of this benchmark"),
    ],
)
def test_mistakes_are_one_clear_message(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_markdown_of_a_stored_result(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(content))
    cli.main(["--markdown", str(path)])
    assert capsys.readouterr().out == tables.text(content, markdown=True)


def test_what_a_row_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows.Row("x", ("x",), needs=("no_such_module",)).missing() == "no_such_module is not installed"
    assert rows.Row("x", ("x",), needs=("json",)).missing() is None
    assert (
        rows.Row("x", ("x",), needs=("key:runtime.warp",)).missing() == "this fedbal has no key runtime.warp"
    )
    monkeypatch.setenv("PATH", "")
    assert rows.Row("x", ("x",), needs=("compiler",)).missing() == "there is no C++ compiler"


def test_the_parent_process_is_not_part_of_a_run() -> None:
    assert measure.marked("0" * 32) == []
