"""The global test on a worker: the numbers of an evaluation in the driver."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("ray")

from fedbal import driver
from fedbal.assembly import assemble
from fedbal.backend import Placement, make_grid
from fedbal.grid.ray import RayGrid
from fedbal.simulation import run
from tests.grid.population import Counting, Factory, directory, nodes
from tests.scenarios import digits, sha256

ON_RAY = ("runtime.backend=ray", "runtime.workers=1")


def test_a_worker_predicts_what_the_driver_would():
    scenario = digits(*ON_RAY)
    assembly = assemble(scenario, "cpu")
    parts = (assembly.clients, assembly.directory, assembly.population.nodes, assembly.systems.work)
    with make_grid(Placement("ray"), scenario.runtime, *parts, assembly.cohort) as grid:
        assert grid.scores_models
        here = assembly.test(assembly.initial)
        assert replace(assembly.test, scorer=grid.score)(assembly.initial) == here
        flat = grid.score(assembly.initial, Constant())
        logits, truth = (np.concatenate(column) for column in zip(*flat, strict=True))
        assert np.ptp(logits, axis=0).max() == 0.0
        assert len(truth) == len(assembly.test.split)


class Constant:
    def __call__(self, x, rows):
        return x * 0


def test_a_run_whose_driver_has_no_card_evaluates_on_a_worker(tmp_path, monkeypatch):
    here = run(digits(), tmp_path / "here")
    asked = []
    whole = RayGrid.score

    def score(self, arrays, transform=None):
        asked.append(transform)
        return whole(self, arrays, transform)

    monkeypatch.setattr(RayGrid, "score", score)
    monkeypatch.setattr(driver, "_device_is_elsewhere", lambda assembly: True)
    away = run(digits(*ON_RAY), tmp_path / "away")
    assert len(asked) == 4
    assert sha256(here.directory / "model.safetensors") == sha256(away.directory / "model.safetensors")
    tests = [
        [json.loads(line)["test"] for line in (one.directory / "rounds.jsonl").read_text().splitlines()]
        for one in (here, away)
    ]
    assert tests[0] == tests[1]


def test_a_grid_of_other_clients_has_no_test_set():
    options = {"costs": [1.0] * 6, "cohort": 6, "workers": 1}
    with RayGrid(Factory(Counting), directory(), nodes(), **options) as grid:
        assert not grid.scores_models
