"""Retrained contributions beside the weights of a run: computed once, shared, of the right sites."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from benchmarks.reproduce import contributions
from benchmarks.reproduce.contributions import agreement, mean_weights, truths
from benchmarks.reproduce.fedce_pages import COLUMNS, correlations, render
from benchmarks.reproduce.study import ACCURACY
from fedbal.contribution.correlation import spearman
from fedbal.results import RunReader
from fedbal.simulation import run
from tests.scenarios import digits

PACKAGES = ("flwr", "torch", "numpy")
SITES = (
    "data={dataset: digits, partition: {name: iid, clients: 3}, quantity: power_law, validation: 0.2, "
    "client_test: 0.2, label_noise: {rate: 0.8, clients: 0.34}}",
    "rounds=3",
    "cohort.fraction=1.0",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    scenario = digits(*SITES, "strategy=fedce")
    run(scenario, folder / "unfinished" / "one")
    return scenario, folder, agreement(scenario, RunReader(folder / "unfinished" / "one"))


def test_weights_are_compared_with_the_mean_of_two_retrainings(finished):
    scenario, folder, found = finished
    files = sorted((folder / "truth").glob("*.json"))
    assert len(files) == 2
    first, second = truths(scenario, folder / "truth")
    assert first["everyone"] != second["everyone"]
    assert first["nobody"] == second["nobody"]
    weights = mean_weights(RunReader(folder / "unfinished" / "one"), first["clients"])
    assert sum(weights) == pytest.approx(1.0)
    mean = np.mean([first["shapley"], second["shapley"]], axis=0)
    assert found["shapley.spearman"] == pytest.approx(spearman(weights, mean))
    assert found["floor.shapley.spearman"] == pytest.approx(spearman(first["shapley"], second["shapley"]))
    assert found["range.shapley"] == pytest.approx(np.ptp(mean))
    assert found["noise.leave-one-out"] > 0.0


def test_the_truth_is_of_the_sites_not_of_the_rule_and_is_trained_once(finished, monkeypatch):
    scenario, folder, _ = finished
    expected = truths(scenario, folder / "truth")

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(contributions, "contribution", never)
    for rule in ("fedavg", "uniform", "qfedavg"):
        assert truths(digits(*SITES, f"strategy={rule}"), folder / "truth") == expected
    with pytest.raises(AssertionError, match="trained again"):
        truths(digits(*SITES, "seed=1"), folder / "truth")


def test_who_comes_second_takes_the_other_half(tmp_path, monkeypatch):
    busy, seen = threading.Event(), []

    def slow(scenario, options, path):
        seen.append(scenario.seed.training)
        if threading.current_thread().name == "first" and not busy.is_set():
            busy.set()
            second = threading.Thread(
                target=truths, args=(digits(*SITES), tmp_path), name="second", daemon=True
            )
            second.start()
            while len(seen) < 2:
                second.join(0.05)
        return {"seed": scenario.seed.training}

    monkeypatch.setattr(contributions, "contribution", slow)
    found = []
    first = threading.Thread(
        target=lambda: found.append(truths(digits(*SITES), tmp_path)), name="first", daemon=True
    )
    first.start()
    first.join(60)
    assert found == [[{"seed": 0}, {"seed": 1000}]]
    assert seen == [0, 1000]


def test_equal_weights_rank_nobody(finished):
    _, folder, _ = finished
    uniform = digits(*SITES, "strategy=uniform")
    run(uniform, folder / "unfinished" / "uniform")
    found = agreement(uniform, RunReader(folder / "unfinished" / "uniform"))
    assert found["leave-one-out.spearman"] == found["shapley.kendall"] == 0.0
    assert json.loads(json.dumps(found)) == found


def test_the_page_part_shows_how_every_arm_ranks_the_sites(finished):
    _, _, found = finished
    seeds = {
        str(seed): {"status": "finished", "endpoints": {**found, "accuracy.last": 0.5}} for seed in (0, 1)
    }
    setting = {"title": "Sites", "arms": {"fedce": {"label": "FedCE", "seeds": seeds}}}
    table = correlations(setting)
    row, floor = (line for line in table.splitlines() if line.startswith(("| FedCE", "| *one")))
    ranked = [f"{found[f'{value}.{by}']:.3f} ± 0.000" for value, by in COLUMNS]
    assert row == "| " + " | ".join(["FedCE", *ranked]) + " |"
    assert f"{found['floor.shapley.kendall']:.3f} ± 0.000" in floor
    assert f"shapley {found['range.shapley']:.3f} (noise {found['noise.shapley']:.3f})" in table
    environment = {
        "runs": 2,
        "run_seconds": 60.0,
        "machine": "here",
        "packages": dict.fromkeys(PACKAGES, "1"),
    }
    content = {
        "study": "fedce",
        "title": "FedCE",
        "size": "cpu",
        "metrics": [vars(ACCURACY)],
        "windows": [10],
        "claims": [],
        "settings": {"sites": setting},
        "environment": environment,
    }
    whole = render(content, {})
    assert table in whole
    assert whole.count("leave-one-out.spearman") == 0
