"""Stable node ids over a grid whose own ids are random, as Flower's are."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.serverapp import Grid

from fedbal.errors import RunError
from fedbal.grid.inprocess import InProcessGrid
from fedbal.grid.named import discover
from fedbal.grid.work import NodeDirectory
from tests.grid.population import CLIENTS, Factory, directory, initial, nodes

OFFSET = 10**15


class RandomIds(Grid):
    """A grid like Flower's: large ids in no order, and errors that come from the SuperLink's own id."""

    def __init__(self, lost=()):
        self.inner = InProcessGrid(Factory()(), directory(), nodes())
        self.lost = set(lost)
        self.replies = {}
        self.count = 0

    def set_run(self, run): ...

    @property
    def run(self):
        return self.inner.run

    def create_message(self, *args, **kwargs):
        return self.inner.create_message(*args, **kwargs)

    def get_node_ids(self):
        return [OFFSET - 7 * node for node in nodes()]

    def push_messages(self, messages):
        ids = []
        for message in messages:
            node = (OFFSET - message.metadata.dst_node_id) // 7
            inner = Message(message.content, node, message.metadata.message_type)
            (reply,) = self.inner.send_and_receive([inner])
            self.count += 1
            key = f"m{self.count}"
            message.metadata.__dict__["_message_id"] = key
            if node in self.lost and message.metadata.message_type == "train":
                answer = Message(Error(5, "node unavailable"), reply_to=message)
                answer.metadata.__dict__["_src_node_id"] = 1
            else:
                answer = Message(reply.content, reply_to=message)
            self.replies[key] = answer
            ids.append(key)
        return ids

    def pull_messages(self, message_ids):
        return [self.replies.pop(key) for key in list(message_ids) if key in self.replies]

    def send_and_receive(self, messages, *, timeout=None):
        return self.pull_messages(self.push_messages(messages))


def train(grid):
    content = RecordDict({"arrays": initial(), "config": ConfigRecord({"server-round": 1})})
    return grid.send_and_receive([Message(content, node, "train") for node in reversed(nodes())])


def test_replies_carry_our_ids_in_order_and_equal_those_of_our_grid():
    named = discover(RandomIds(), [str(client) for client in range(CLIENTS)])
    assert named.get_node_ids() == nodes()
    expected = InProcessGrid(Factory()(), NodeDirectory(CLIENTS), nodes())
    for left, right in zip(train(named), train(expected), strict=True):
        assert left.metadata.src_node_id == right.metadata.src_node_id
        assert (
            left.content["arrays"]["classifier.weight"].data
            == right.content["arrays"]["classifier.weight"].data
        )


def test_an_error_made_by_the_superlink_is_mapped_to_its_client():
    replies = train(discover(RandomIds(lost=[4]), [str(client) for client in range(CLIENTS)]))
    failed = [reply for reply in replies if reply.has_error()]
    assert [reply.metadata.src_node_id for reply in failed] == [4]
    assert len(replies) == CLIENTS


def test_too_few_nodes_say_what_to_start():
    with pytest.raises(RunError, match="num-supernodes=9"):
        discover(RandomIds(), [str(client) for client in range(9)], wait=0.1)
