"""Threads of one process come to the bytes of one worker, take turns, and end when a run does."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import strategy as stock

from clients.turn import Turn
from fedbal import backend
from fedbal.assembly import assemble
from fedbal.backend import HERE, Load, Placement, choose_placement, make_grid
from fedbal.errors import RunError
from fedbal.grid.inprocess import InProcessGrid
from fedbal.grid.threads import ThreadGrid
from fedbal.params import CustomParams
from fedbal.protocol import to_arrays
from strategies import STRATEGIES
from tests.grid.population import Factory, directory, initial, nodes
from tests.scenarios import digits
from tests.test_lean_exchange import force, run

COSTS = [60.0, 10.0, 30.0, 20.0, 40.0, 50.0]


@pytest.fixture
def grid():
    with ThreadGrid(Factory(), directory(), nodes(), costs=COSTS, workers=3) as grid:
        yield grid


def train_all(grid, server_round=1, fail=""):
    config = ConfigRecord({"server-round": server_round, "fail": fail})
    content = RecordDict({"arrays": initial(), "config": config})
    return grid.send_and_receive([Message(content, node, "train") for node in nodes()])


def test_messages_state_and_failures_are_those_of_one_worker(grid):
    expected_grid = InProcessGrid(Factory()(), directory(), nodes())
    for server_round, fail in ((1, ""), (2, "3"), (3, "")):
        expected, found = (train_all(one, server_round, fail) for one in (expected_grid, grid))
        for left, right in zip(expected, found, strict=True):
            assert left.metadata.src_node_id == right.metadata.src_node_id
            assert left.has_error() == right.has_error()
            if not left.has_error():
                assert to_arrays(left.content["arrays"]).keys() == to_arrays(right.content["arrays"]).keys()
                for name, array in left.content["arrays"].items():
                    assert array.data == right.content["arrays"][name].data
                assert left.content["extras"] == right.content["extras"]


def test_a_stock_strategy_starts_on_it(grid):
    plain = InProcessGrid(Factory()(), directory(), nodes())
    results = [stock.FedAvg().start(one, initial(), num_rounds=2) for one in (plain, grid)]
    first, second = (to_arrays(result.arrays) for result in results)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


@pytest.mark.parametrize("engine", ["false", "true"])
@pytest.mark.parametrize("rule", sorted(set(STRATEGIES.keys()) - {"centralised"}))
def test_every_rule_comes_to_the_same_files(rule, engine, tmp_path, monkeypatch):
    monkeypatch.setattr("clients.recorded.CALLS_BEFORE", 3)
    more = (
        *(f"strategy={rule}", f"runtime.vectorize={engine}", "runtime.chunk=3", "cohort.fraction=1.0"),
        *(
            "client.optimizer.momentum=0.9",
            "client.optimizer.schedule=cosine",
            "rounds=3",
            "evaluation.every=2",
        ),
        *("systems.stragglers.fraction=0.3", "systems.stragglers.policy=partial"),
    )
    one = run(tmp_path / "one", *more, "runtime.workers=1")
    assert run(tmp_path / "three", *more, "runtime.workers=3") == one


@pytest.mark.parametrize("kind", ["messages", "stacks", "sums"])
def test_every_exchange_comes_to_the_same_files(kind, tmp_path, monkeypatch):
    force(monkeypatch, kind)
    more = ("strategy=feddisco", "cohort.fraction=1.0", "runtime.record_updates={rounds: [2], clients: 3}")
    one = run(tmp_path / "one", *more, "runtime.workers=1")
    assert run(tmp_path / "three", *more, "runtime.workers=3") == one


def test_what_may_not_be_shared_is_trained_by_one(tmp_path):
    pure = assemble(digits(), "cpu").load
    assert pure.pure
    own = CustomParams(name="tests.clients.test_replayed:Remembering")
    scenario = digits("runtime.workers=3")
    scenario = scenario.model_copy(update={"client": scenario.client.model_copy(update={"update": own})})
    load = assemble(scenario, "cpu").load
    assert not load.pure
    assert choose_placement(scenario.runtime, load) == HERE
    assert not assemble(digits("client.update=fedbr", "strategy=fedbr"), "cpu").load.pure


def test_where_clients_are_trained(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(backend, "_cores", lambda: 4)
    short, long = (Load(rounds, 100, 10.0, 10, 5_000, pure=True) for rounds in (1, 1000))
    auto = digits("runtime.backend=auto").runtime
    assert choose_placement(auto, short) == HERE
    assert choose_placement(auto, long) == Placement("inprocess", 4)
    assert choose_placement(auto.model_copy(update={"num_cpus": 2.0}), long).threads == 2
    assert choose_placement(auto.model_copy(update={"workers": 3}), short).threads == 3
    assert choose_placement(auto.model_copy(update={"workers": 1}), long) == HERE
    assert choose_placement(auto, replace(long, cohort=2)).threads == 2
    assert choose_placement(auto, replace(long, pure=False)) == Placement("ray")
    assert (
        choose_placement(auto.model_copy(update={"workers": 2}), replace(short, pure=False)).backend == "ray"
    )
    assert choose_placement(auto.model_copy(update={"address": "auto"}), long).backend == "ray"
    assert choose_placement(auto.model_copy(update={"backend": "ray"}), short) == Placement("ray")
    here = auto.model_copy(update={"backend": "inprocess"})
    assert choose_placement(here, replace(long, pure=False)) == HERE
    monkeypatch.setattr(backend, "_cores", lambda: 64)
    assert choose_placement(auto, long) == Placement("ray")
    assert choose_placement(here, long).threads == backend.MOST_THREADS


def test_closing_ends_the_work_at_hand():
    scenario = digits("runtime.vectorize=false", "cohort.fraction=1.0")
    assembly = assemble(scenario, "cpu")
    parts = (assembly.clients, assembly.directory, assembly.population.nodes, assembly.systems.work)
    grid = make_grid(Placement("inprocess", 2), scenario.runtime, *parts, assembly.cohort)
    assert isinstance(grid, ThreadGrid)
    grid.close()
    hand = grid._hands[0]
    content = RecordDict({"arrays": initial(), "config": ConfigRecord({"server-round": 1})})
    with pytest.raises(RunError, match="ended"):
        hand.run([content], [[0]], [])
    assert not [one for one in threading.enumerate() if one.name.startswith("fedbal-worker")]


def fail_while_lent(turn, thread):
    with turn.lent():
        thread.join()
        raise ValueError("kernel")


def test_turns_are_taken_lent_and_given_back():
    first, second = Turn(), Turn()
    second.join(first)
    order: list[str] = []
    waiting = threading.Event()

    def other():
        waiting.set()
        with second.taken():
            order.append("second")

    thread = threading.Thread(target=other)
    with first.taken():
        thread.start()
        waiting.wait()
        order.append("first")
        with pytest.raises(ValueError, match="kernel"):
            fail_while_lent(first, thread)
        order.append("first again")
    with second.taken(), second.lent(), first.taken():
        order.append("both")
    with first.lent():
        order.append("outside")
    assert order == ["first", "second", "first again", "both", "outside"]
