"""The in-process grid: a real Flower grid for stock strategies and for fedbal's own."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import strategy as stock

from fedbal.grid.inprocess import InProcessGrid
from fedbal.protocol import to_arrays
from strategies.fedavg import FedAvg
from tests.grid.population import Exiting, Factory, directory, initial, nodes


@pytest.fixture
def grid():
    return InProcessGrid(Factory()(), directory(), nodes())


def train_messages(fail=""):
    content = RecordDict({"arrays": initial(), "config": ConfigRecord({"server-round": 1, "fail": fail})})
    return [Message(content, node, "train") for node in nodes()]


def test_replies_come_in_node_order_whatever_the_order_of_messages(grid):
    replies = grid.send_and_receive(reversed(train_messages()))
    assert [reply.metadata.src_node_id for reply in replies] == nodes()
    assert all(reply.content["metrics"]["num-examples"] > 0 for reply in replies)


def test_pushed_messages_are_pulled_once(grid):
    ids = grid.push_messages(train_messages())
    assert len(grid.pull_messages(ids[:2])) == 2
    assert len(grid.pull_messages(ids)) == len(ids) - 2
    assert grid.pull_messages(ids) == []


def test_a_client_that_raises_is_an_error_reply_and_loses_its_state_change(grid):
    replies = grid.send_and_receive(train_messages(fail="2"))
    failed = [reply for reply in replies if reply.has_error()]
    assert [reply.metadata.src_node_id for reply in failed] == [4]
    assert failed[0].error.code == 2
    assert "boom" in failed[0].error.reason
    assert len(grid.states.get(4)) == 0
    assert grid.states.get(2)["count"]["rounds"] == 1


def test_a_client_that_exits_does_not_take_the_server_along():
    grid = InProcessGrid(Factory(Exiting)(), directory(), nodes())
    replies = grid.send_and_receive(train_messages())
    assert all(reply.has_error() and reply.error.code == 8 for reply in replies)


def test_state_is_committed_or_rolled_back(grid):
    grid.send_and_receive(train_messages())
    grid.states.commit()
    grid.send_and_receive(train_messages())
    assert grid.states.get(2)["count"]["rounds"] == 2
    grid.states.rollback()
    assert grid.states.get(2)["count"]["rounds"] == 1


def test_two_messages_to_one_client_see_each_others_state(grid):
    first, second = train_messages()[0], train_messages()[0]
    replies = grid.send_and_receive([first, second])
    assert [reply.content["extras"]["participations"] for reply in replies] == [[1], [2]]


def test_evaluate_and_query(grid):
    content = RecordDict({"arrays": initial(), "config": ConfigRecord({"requests": ["label-counts"]})})
    evaluated, asked = grid.send_and_receive([Message(content, 2, "evaluate"), Message(content, 3, "query")])
    assert evaluated.content["metrics"]["num-examples"] == 5
    assert asked.content["reply"]["client"] == "1"
    assert sum(asked.content["extras"]["label-counts"]) == 10


def test_an_unknown_request_or_a_wrong_model_is_an_error_reply(grid):
    config = ConfigRecord({"requests": ["raw-images"]})
    wrong = RecordDict({"arrays": ArrayRecord([np.zeros(3)]), "config": ConfigRecord()})
    unknown, model = grid.send_and_receive(
        [
            Message(RecordDict({"arrays": initial(), "config": config}), 2, "train"),
            Message(wrong, 3, "train"),
        ]
    )
    assert "raw-images" in unknown.error.reason
    assert "4 arrays" in model.error.reason


@pytest.mark.parametrize(
    "strategy",
    [stock.FedAvg(), stock.FedAdam(eta=0.01), stock.Krum(num_malicious_nodes=1), FedAvg()],
    ids=lambda strategy: type(strategy).__module__.split(".")[0] + "." + type(strategy).__name__,
)
def test_strategies_start_on_it(grid, strategy):
    result = strategy.start(grid, initial(), num_rounds=2)
    before, after = to_arrays(initial()), to_arrays(result.arrays)
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    assert all(np.isfinite(value).all() for value in after.values())
    assert set(result.evaluate_metrics_clientapp) == {1, 2}


def test_fedavg_equals_flowers_fedavg_on_the_same_replies(grid):
    replies = grid.send_and_receive(train_messages())
    theirs, _ = stock.FedAvg().aggregate_train(1, replies)
    ours = FedAvg()
    list(ours.configure_train(1, initial(), ConfigRecord(), grid))
    record, metrics = ours.aggregate_train(1, replies)
    for name, value in to_arrays(record).items():
        np.testing.assert_allclose(value, theirs[name].numpy(), rtol=0, atol=1e-7)
    assert metrics["train-loss"] == pytest.approx(
        np.average(
            [reply.content["metrics"]["train-loss"] for reply in replies],
            weights=[reply.content["metrics"]["num-examples"] for reply in replies],
        )
    )
    assert sum(ours.report.weights.values()) == pytest.approx(1.0)
