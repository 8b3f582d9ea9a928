"""Fails loudly when a private part of Flower that fedbal relies on changes."""

from __future__ import annotations

import flwr
import pytest
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedbal.grid import flower


def test_flower_version_is_one_that_was_checked():
    assert flwr.__version__.startswith(("1.41.", "1.42.")), "check fedbal/grid/flower.py against this version"


def test_identity_lets_this_process_make_messages():
    flower.become()
    message = Message(RecordDict(), 2, "train")
    assert message.metadata.src_node_id == flower.SERVER_NODE_ID
    assert message.metadata.run_id == flower.RUN_ID


def test_replies_refer_to_the_message_id_that_was_set():
    flower.become()
    message = Message(RecordDict(), 2, "train")
    flower.set_message_id(message, "abc")
    assert message.metadata.message_id == "abc"
    reply = Message(RecordDict(), reply_to=message)
    assert reply.metadata.reply_to_message_id == "abc"
    assert reply.metadata.src_node_id == 2


def test_a_grid_is_what_flower_says_it_is():
    expected = {
        "set_run",
        "run",
        "create_message",
        "get_node_ids",
        "push_messages",
        "pull_messages",
        "send_and_receive",
    }
    assert Grid.__abstractmethods__ == expected
    assert flower.empty_run().run_id == flower.RUN_ID


@pytest.mark.parametrize("kind", ["train", "evaluate", "query", "query.labels"])
def test_message_types_are_valid(kind):
    flower.become()
    assert Message(RecordDict(), 2, kind).metadata.message_type == kind
