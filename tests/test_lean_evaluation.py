"""Clients that evaluate with and without messages come to the same files, in process and on Ray."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from clients.local_only import STATE, LocalOnly
from clients.memory import DeviceFull
from clients.records import encode
from clients.standard import Standard
from fedbal import loop, simulation
from fedbal.evaluation import evaluate_on_clients, evaluation_content
from fedbal.exchange import reads_evaluations
from fedbal.grid.exchange import evaluate_cohort
from fedbal.grid.inprocess import InProcessGrid
from fedbal.grid.lean import EVALUATED_AT_ONCE
from fedbal.measures import measures_for
from fedbal.measures.base import Evaluated
from fedbal.metrics import Confusion
from fedbal.scenario import Scenario
from strategies.fedavg import FedAvg
from tests.grid.population import Factory, directory, initial, network, nodes
from tests.scenarios import blobs, digits, sha256

MEASURES = measures_for("classification", 3)
EVERYONE = ("rounds=2", "evaluation.clients=all", "data.client_test=0.2", "runtime.vectorize=false")
SCENARIOS = {
    "standard": digits(*EVERYONE, "data.holdout_clients=[2]"),
    "personal": digits(*EVERYONE, "client.update=local_only", "strategy=fedavg"),
    "finetuned": digits(*EVERYONE, "strategy={name: fedavg_finetuned, share: 1.0}"),
    "segmentation": blobs("rounds=2"),
    "feature shift": digits(*EVERYONE, "data.feature_shift={name: gaussian_noise, std: 0.3}"),
    "preprocess": digits(*EVERYONE, "data.preprocess={scale: standard, fit: federated}"),
    "own preprocess": digits(*EVERYONE, "data.preprocess={scale: minmax, fit: client}"),
    "cohort": digits(*EVERYONE, "evaluation.clients=cohort", "systems.client_dropout=0.3"),
    "vectorized": digits(*EVERYONE, "runtime.vectorize=true"),
}


def rows(path: Path) -> dict:
    found = {}
    for name in ("rounds.jsonl", "clients.jsonl"):
        lines = [json.loads(line) for line in (path / name).read_text().splitlines()]
        found[name] = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    return found


def run(scenario: Scenario, path: Path) -> tuple[str, dict]:
    simulation.run(scenario, path)
    return sha256(path / "model.safetensors"), rows(path)


def watched(monkeypatch) -> list[str]:
    """Note how evaluations go."""
    used: list[str] = []
    for name in ("evaluate_cohort", "evaluate_on_clients"):
        real = getattr(loop, name)
        monkeypatch.setattr(loop, name, lambda *args, name=name, real=real: used.append(name) or real(*args))
    return used


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def on_ray(scenario: Scenario) -> Scenario:
    runtime = scenario.runtime.model_copy(update={"backend": "ray", "workers": 2})
    return scenario.model_copy(update={"runtime": runtime})


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_messages_come_to_the_same_files(name, tmp_path, monkeypatch):
    used = watched(monkeypatch)
    lean = run(SCENARIOS[name], tmp_path / "lean")
    assert used == ["evaluate_cohort"] * 3
    monkeypatch.setattr(loop, "reads_evaluations", lambda strategy: True)
    assert run(SCENARIOS[name], tmp_path / "messages") == lean
    assert used[3:] == ["evaluate_on_clients"] * 3
    first = lean[1]["rounds.jsonl"][-1]
    assert first["fairness"]["pooled_clients"] > 1
    assert (first["personal"] is not None) == (name in ("personal", "finetuned"))


@pytest.mark.parametrize("name", ["standard", "personal", "finetuned", "segmentation", "preprocess"])
def test_ray_comes_to_the_same_files(name, tmp_path, cluster):
    assert run(on_ray(SCENARIOS[name]), tmp_path / "ray") == run(SCENARIOS[name], tmp_path / "here")


def evaluate(update: type, *, messages: bool, grid=None, asked=None) -> dict[int, Evaluated]:
    grid = grid or InProcessGrid(Factory(update)(), directory(), nodes())
    for node in nodes()[::2]:
        values = {name: value.detach() * node for name, value in network().state_dict().items()}
        grid.states.put(node, RecordDict({STATE: encode(values)}))
    grid.states.commit()
    if messages:
        scores, _ = evaluate_on_clients(grid, asked or nodes(), initial(), 3, MEASURES, None)
        return scores
    return evaluate_cohort(grid, asked or nodes(), evaluation_content(initial(), 3), 3, MEASURES)


def same(first: dict[int, Evaluated], second: dict[int, Evaluated]) -> None:
    assert list(first) == list(second)
    for one, other in zip(first.values(), second.values(), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                assert mine[:3] == theirs[:3]
                assert list(map(type, mine[:3])) == list(map(type, theirs[:3]))
                assert mine.confusion.tolist() == theirs.confusion.tolist()
                assert mine.confusion.dtype == theirs.confusion.dtype


class Failing(LocalOnly):
    """Client 1 raises when it is asked for its own model, client 3 leaves, client 4's does not fit."""

    def personal(self, local):
        assert local.round == 3
        if local.data.key == "1":
            raise RuntimeError("boom")
        if local.data.key == "3":
            raise SystemExit(3)
        own = super().personal(local)
        if local.data.key == "4" and own is not None:
            return {name: value[..., :1] for name, value in own.items()}
        return own


@pytest.mark.parametrize(
    ("update", "answered"), [(Standard, 6), (LocalOnly, 6), (Failing, 3)], ids=["none", "own", "failing"]
)
def test_answers_are_those_of_messages_and_who_fails_is_left_out(update, answered):
    found = evaluate(update, messages=False)
    same(found, evaluate(update, messages=True))
    assert len(found) == answered
    assert [node for node, score in found.items() if score.personal is not None] == {
        Standard: [],
        LocalOnly: nodes()[::2],
        Failing: [2, 4],
    }[update]


def test_a_client_s_numbers_do_not_depend_on_who_else_is_asked(monkeypatch):
    from fedbal.grid import lean

    found = evaluate(LocalOnly, messages=False)
    monkeypatch.setattr(lean, "EVALUATED_AT_ONCE", 2)
    same(found, evaluate(LocalOnly, messages=False))
    assert EVALUATED_AT_ONCE > 2
    alone = evaluate(LocalOnly, messages=False, asked=[4])
    same({4: found[4]}, alone)


def test_states_are_read_only():
    class Writing(LocalOnly):
        def personal(self, local):
            local.state["more"] = ConfigRecord({"x": 1})
            return super().personal(local)

    grid = InProcessGrid(Factory(Writing)(), directory(), nodes())
    evaluate(Writing, messages=False, grid=grid)
    assert [list(grid.states.get(node)) for node in nodes()[:2]] == [[STATE], []]


def test_a_full_device_is_said_so():
    import torch

    class Full(Standard):
        def personal(self, local):
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(DeviceFull):
        evaluate(Full, messages=False)


def test_a_model_that_does_not_fit_is_answered_by_nobody():
    grid = InProcessGrid(Factory(Standard)(), directory(), nodes())
    wrong = evaluation_content(encode({"a": next(network().parameters()).detach()}), 1)
    assert evaluate_cohort(grid, nodes(), wrong, 1, MEASURES) == {}


def test_a_worker_that_dies_is_replaced(monkeypatch, cluster):
    import ray

    from fedbal.grid.ray import RayGrid

    expected = evaluate(LocalOnly, messages=False)
    costs = [60.0, 10.0, 30.0, 20.0, 40.0, 50.0]
    with RayGrid(Factory(LocalOnly), directory(), nodes(), costs=costs, cohort=6, workers=2) as grid:
        os.kill(ray.get(grid._pool[0].ready.remote()), signal.SIGKILL)
        same(evaluate(LocalOnly, messages=False, grid=grid), expected)
        assert grid.replaced == 1


class Reads(FedAvg):
    """Wants to see what clients answer."""

    def aggregate_evaluate(self, server_round, replies):
        found = list(replies)
        Reads.seen.append((server_round, len(found), type(found[0]).__name__))
        return super().aggregate_evaluate(server_round, found)

    seen: list[tuple[int, int, str]] = []


def test_a_rule_that_replaces_the_hook_is_called_with_messages(tmp_path):
    assert not reads_evaluations(FedAvg())
    assert reads_evaluations(Reads())
    changed = FedAvg()
    changed.aggregate_evaluate = lambda server_round, replies: None
    assert reads_evaluations(changed)
    Reads.seen.clear()
    simulation.run(digits(*EVERYONE, "strategy.name=tests.test_lean_evaluation:Reads"), tmp_path / "run")
    assert [one[0] for one in Reads.seen] == [1, 2, 2]
    assert all(count > 1 and kind == "Message" for _, count, kind in Reads.seen)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_what_is_packed_reads_like_replies(task):
    measures, draw = measures_for(task, 4), np.random.default_rng(0)
    everyone = []
    for size in (0, 1, 7, 40):
        if task == "classification":
            truth, predicted = draw.integers(0, 4, (2, size))
            everyone.append(Confusion.of(truth, predicted, 4, float(draw.uniform(0, 9))))
        else:
            sums = measures.empty()
            for _ in range(size):
                dice = draw.uniform(0, 1, 3)
                sums = sums + type(sums)(1, dice, dice / 2, float(np.square(dice.mean())), 0.7)
            everyone.append(sums)
    everyone.append(type(everyone[0])(**{**_fields(everyone[-1]), "loss_sum": float("nan")}))
    found = measures.unpacked(measures.packed(everyone))
    read = [measures.read(measures.reply(one)).received for one in everyone]
    assert [repr(one) for one in found] == [repr(one) for one in read]
    assert measures.unpacked(measures.packed([])) == []


def _fields(sums) -> dict:
    return {name: getattr(sums, name) for name in type(sums).__dataclass_fields__}
