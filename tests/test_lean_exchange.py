"""Messages, stacks and sums come to the same files, in process and on Ray, for every shipped rule."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord

from clients.engine import Engine
from clients.standard import Standard
from fedbal import cohort_round, simulation
from fedbal.exchange import choose_exchange
from fedbal.grid.exchange import train_cohort
from fedbal.grid.inprocess import InProcessGrid
from fedbal.protocol import Arrays, to_arrays
from strategies import STRATEGIES
from strategies.base import AggregationRule, needs_of, takes_stacks
from strategies.fedavg import FedAvg
from strategies.qfedavg import QFedAvg
from strategies.scaffold import Scaffold
from strategies.validation import ClientReply
from strategies.weighting import Weights
from tests.grid.population import Factory, directory, initial, nodes
from tests.scenarios import digits, sha256

RULES = sorted(set(STRATEGIES.keys()))
FILES = ("rounds.jsonl", "clients.jsonl")


def rows(directory: Path) -> dict:
    found = {}
    for name in FILES:
        lines = [json.loads(line) for line in (directory / name).read_text().splitlines()]
        found[name] = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    return found


def run(path: Path, *overrides: str) -> tuple[str, dict]:
    simulation.run(digits("rounds=2", *overrides), path)
    return sha256(path / "model.safetensors"), rows(path)


def force(monkeypatch, kind: str) -> list[str]:
    """Let every run use one exchange, as far as its rule allows; returns the exchanges that were used."""
    used: list[str] = []

    def choose(strategy, *_):
        allowed = kind
        if not isinstance(strategy, AggregationRule):
            allowed = "messages"
        elif kind == "sums" and needs_of(strategy) != "scalars":
            allowed = "stacks"
        used.append(allowed)
        return allowed

    monkeypatch.setattr(cohort_round, "choose_exchange", choose)
    return used


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_comes_to_the_same_files(rule, tmp_path, monkeypatch):
    # Stragglers, dropouts, invisible to the rule, and client scores go through all three.
    more = (
        f"strategy={rule}",
        "runtime.vectorize=false",
        "cohort.fraction=1.0",
        "systems.client_dropout=0.2",
    )
    late = ("systems.stragglers.fraction=0.3", "systems.stragglers.policy=partial")
    found = {}
    for kind in ("messages", "stacks", "sums"):
        used = force(monkeypatch, kind)
        found[kind] = run(tmp_path / kind, *more, *(() if rule == "centralised" else late))
        assert set(used) <= {kind, "stacks"}, used
    assert found["messages"] == found["stacks"] == found["sums"]


@pytest.mark.parametrize("engine", ["false", "true"])
def test_blocks_of_several_clients_come_to_the_same_files(engine, tmp_path, monkeypatch):
    more = (
        "data.partition.clients=100",
        "data.partition.alpha=5",
        "cohort.size=70",
        f"runtime.vectorize={engine}",
    )
    found = {}
    for kind in ("messages", "stacks", "sums"):
        force(monkeypatch, kind)
        found[kind] = run(tmp_path / kind, *more, "systems.client_dropout=0.1")
    assert found["messages"] == found["stacks"]
    if engine == "false":
        assert found["stacks"] == found["sums"]


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize(("kind", "engine"), [("stacks", "true"), ("sums", "true"), ("sums", "false")])
def test_ray_comes_to_the_same_files_as_one_process(kind, engine, tmp_path, monkeypatch, cluster):
    force(monkeypatch, kind)
    more = ("strategy=feddisco", "cohort.fraction=1.0", f"runtime.vectorize={engine}")
    here = run(tmp_path / "here", *more)
    ray = ("runtime.backend=ray", "runtime.workers=2")
    assert run(tmp_path / "ray", *more, *ray) == here


def test_ray_records_the_same_updates_as_one_process(tmp_path, monkeypatch, cluster):
    force(monkeypatch, "sums")
    more = ("strategy=feddisco", "cohort.fraction=1.0", "runtime.record_updates={rounds: [2], clients: 3}")
    here = run(tmp_path / "here", *more)
    assert run(tmp_path / "ray", *more, "runtime.backend=ray", "runtime.workers=2") == here
    files = sorted(path.name for path in (tmp_path / "here" / "updates").iterdir())
    assert files == ["round-000002.json", "round-000002.safetensors"]
    for name in files:
        assert sha256(tmp_path / "ray" / "updates" / name) == sha256(tmp_path / "here" / "updates" / name)


def test_ray_comes_to_the_same_files_with_shortened_updates(tmp_path, cluster):
    more = ("client.codec=int8", "cohort.fraction=1.0")
    here = run(tmp_path / "here", *more)
    assert run(tmp_path / "ray", *more, "runtime.backend=ray", "runtime.workers=2") == here


class Plain(FedAvg):
    """Replaces a Flower hook and thereby asks for messages."""

    def configure_train(self, server_round, arrays, config, grid):
        return super().configure_train(server_round, arrays, config, grid)


class Reads(FedAvg):
    def weights(self, replies: list[ClientReply]) -> Weights:
        return super().weights(replies)


class Declares(Reads):
    needs = "scalars"


class DeclaresThenReads(Declares):
    def combine(self, replies: list[ClientReply], weights: Weights) -> Arrays:
        return super().combine(replies, weights)


def test_what_a_rule_replaces_decides_how_models_travel():
    assert takes_stacks(FedAvg())
    assert not takes_stacks(Plain())
    assert [needs_of(rule()) for rule in (FedAvg, Reads, Declares, DeclaresThenReads)] == [
        *("scalars", "updates", "scalars", "updates")
    ]
    assert needs_of(Scaffold()) == needs_of(QFedAvg()) == "updates"
    loop, together = Engine(), Engine("vectorized", 50)
    assert choose_exchange(Plain(), 10**9, 1000, loop) == "messages"
    assert choose_exchange(FedAvg(), 5_000, 100, loop) == "stacks"
    assert choose_exchange(FedAvg(), 10**6, 20, loop) == "stacks"
    assert choose_exchange(FedAvg(), 10**6, 1000, loop) == "sums"
    assert choose_exchange(FedAvg(), 10**6, 100, loop) == "stacks"
    assert choose_exchange(FedAvg(), 10**6, 100, together) == "sums"
    assert choose_exchange(Scaffold(), 10**6, 1000, loop) == "stacks"


class Sabotaged(Standard):
    """Client 1 sends NaN, 2 raises, 3 leaves, 4 sends another shape, 5 an unknown array."""

    def outgoing(self, local, trained):
        key, name = local.data.key, next(iter(trained))
        if key == "1":
            return {**trained, name: trained[name] * float("nan")}
        if key == "2":
            raise RuntimeError("boom")
        if key == "3":
            raise SystemExit(3)
        if key == "4":
            return {**trained, name: trained[name].double()}
        if key == "5":
            return {**trained, "more": trained[name]}
        return trained


def aggregate(kind: str, update: type = Sabotaged, rule: AggregationRule | None = None, grid=None):
    rule = rule or FedAvg()
    grid = grid or InProcessGrid(Factory(update)(), directory(), nodes())
    config = ConfigRecord({"server-round": 1})
    if kind == "messages":
        messages = list(rule.configure_train(1, initial(), config, grid))
        record, _ = rule.aggregate_train(1, grid.send_and_receive(messages))
        return (None if record is None else to_arrays(record)), rule.report
    arrays, _ = rule.aggregate_stacked(
        1, train_cohort(grid, rule.order(1, initial(), config, grid), kind == "sums")
    )
    return arrays, rule.report


@pytest.mark.parametrize("kind", ["stacks", "sums"])
def test_bad_replies_are_dropped_with_the_same_reasons(kind):
    expected, report = aggregate("messages")
    found, other = aggregate(kind)
    assert set(report.dropped) == {3, 4, 5, 6, 7}
    assert other.dropped == report.dropped
    assert "non-finite" in report.dropped[3]
    assert report.dropped[4] == "error 2: RuntimeError: boom"
    assert "exited" in report.dropped[5]
    assert "float64" in report.dropped[6]
    assert "unknown ['more']" in report.dropped[7]
    assert other.weights == report.weights == {2: 1.0}
    assert other.diagnostics == report.diagnostics
    assert all(found[name].tobytes() == value.tobytes() for name, value in expected.items())


class AllRaise(Standard):
    def after(self, local, trained):
        raise ValueError("no")


@pytest.mark.parametrize("kind", ["messages", "stacks", "sums"])
def test_without_a_valid_reply_the_model_stays(kind):
    found, report = aggregate(kind, AllRaise)
    assert found is None
    assert len(report.dropped) == 6


def test_stacked_arrays_are_in_node_order():
    grid = InProcessGrid(Factory(Standard)(), directory(), nodes())
    rule = FedAvg()
    replies = train_cohort(grid, rule.order(1, initial(), ConfigRecord(), grid), False)
    assert replies.nodes == nodes()
    validated = replies.validated(rule.check, {})
    for name, stack in replies.arrays.items():
        assert stack.shape[0] == 6
        for row, reply in enumerate(validated.replies):
            assert np.shares_memory(reply.arrays[name], replies.parts[0].arrays[name])
            assert reply.arrays[name].tobytes() == stack[row].tobytes()


@dataclass
class DiesBetween:
    """Kills a worker after training, before it is asked for what it kept."""

    grid: object
    step: str

    def __call__(self, what, tasks, argument, payloads=()):
        import ray

        if what == self.step:
            os.kill(ray.get(self.grid._pool[0].ready.remote()), signal.SIGKILL)
        return type(self.grid).cohort_step(self.grid, what, tasks, argument, payloads)


@pytest.mark.parametrize("step", ["sums", "products"])
def test_a_worker_that_dies_between_the_steps_trains_again(step, monkeypatch, cluster):
    from fedbal.grid.ray import RayGrid

    expected, report = aggregate("sums", Standard)
    costs = [60.0, 10.0, 30.0, 20.0, 40.0, 50.0]
    with RayGrid(Factory(Standard), directory(), nodes(), costs=costs, cohort=6, workers=2) as grid:
        monkeypatch.setattr(grid, "cohort_step", DiesBetween(grid, step))
        found, other = aggregate("sums", grid=grid)
        assert grid.replaced == 1
    assert other.diagnostics == report.diagnostics
    assert all(found[name].tobytes() == value.tobytes() for name, value in expected.items())


def test_a_stopped_run_goes_on_with_the_same_files(tmp_path, monkeypatch):
    force(monkeypatch, "sums")
    whole = run(tmp_path / "whole", "strategy=feddyn", "rounds=4")

    class Stop(Exception):
        pass

    real = cohort_round.CohortRound.train

    def train(self, server_round, *arguments):
        if server_round == 3:
            raise Stop
        return real(self, server_round, *arguments)

    stopped = digits("strategy=feddyn", "rounds=4")
    monkeypatch.setattr(cohort_round.CohortRound, "train", train)
    with pytest.raises(Stop):
        simulation.run(stopped, tmp_path / "part")
    monkeypatch.setattr(cohort_round.CohortRound, "train", real)
    simulation.resume(tmp_path / "part")
    assert (sha256(tmp_path / "part" / "model.safetensors"), rows(tmp_path / "part")) == whole


def test_stock_strategies_get_ordinary_messages(tmp_path, monkeypatch):
    used = force(monkeypatch, "sums")
    simulation.run(digits("rounds=1", "strategy.name=flwr.serverapp.strategy:FedAvg"), tmp_path / "stock")
    assert set(used) == {"messages"}
