"""Verdicts keep their promises: in simulation, and on real runs of equals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.calibration import aa, page
from benchmarks.calibration.simulate import Found, breaches, simulate
from benchmarks.calibration.situations import SITUATIONS, Situation, normal
from fedbal.comparison.statistics.power import power_of_difference
from fedbal.results import RunReader
from fedbal.seeding import stream

COMPARISONS = 2_000
ERRORS = 3.0
"""Standard errors that so few comparisons may be off."""
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
def test_every_situation_is_within_its_bounds(situation):
    found = simulate(situation, COMPARISONS, stream(1, "calibration", situation.name))
    assert breaches(situation, found, ERRORS) == []


def test_what_is_wrong_is_seen():
    looked = Situation("uncorrected", (0.0, 0.0), normal(0.01), looks=tuple(range(6, 13)), corrected=False)
    found = simulate(looked, COMPARISONS, stream(1, "calibration", "wrong"))
    assert len(breaches(looked, found, ERRORS)) == 1
    loose = Situation("too close", (0.004, -0.004), normal(0.0005), looks=(8,), coverage=(0.0, 0.9))
    assert "coverage" in breaches(loose, simulate(loose, 500, stream(1, "loose")), ERRORS)[-1]


def test_a_planted_difference_is_found_as_often_as_its_power_says():
    planted = Situation("planted", (0.015,), normal(0.01))
    found = simulate(planted, COMPARISONS, stream(1, "calibration", "planted"))
    assert found.better[0] == pytest.approx(power_of_difference(0.015, 0.01 * 2**0.5, 10, 0.05), abs=0.05)


def test_the_committed_results_are_within_their_bounds():
    content = json.loads(page.SIMULATED.read_text())
    assert content["comparisons"] >= 5_000
    assert [
        text for one in SITUATIONS for text in breaches(one, Found(**content["situations"][one.name]))
    ] == []


def test_the_committed_runs_of_equals_are_judged_as_now():
    content = json.loads(page.EQUALS.read_text())
    assert len(content["pairs"]) == 100
    judged = aa.judge(content["pairs"], regroupings=3)
    assert judged["comparisons"] == content["judged"]["comparisons"]
    assert content["judged"]["regrouped"]["wrong"] <= 0.06


def test_the_page_has_the_committed_results():
    text = PAGE.read_text()
    assert len(page.MARKER.findall(text)) == 2
    assert page.fill(text) == text


def test_real_runs_of_equals_pair_data_and_differ_by_training_seed(tmp_path):
    content = aa.measure(tmp_path, pairs=1, workers=1, rounds=2)
    (pair,) = content["pairs"]
    assert pair[0] != pair[1]
    first, second = (RunReader(path).fingerprints for path in sorted(tmp_path.iterdir()))
    assert first["partition"] == second["partition"]
    assert first["initial"] == second["initial"]
    assert first["batches"] != second["batches"]
