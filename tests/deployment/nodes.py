"""A Flower grid whose nodes are sites in this process, so that a whole deployed run needs no other process."""

from __future__ import annotations

import itertools

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid

from fedbal.deployment.packing import pack, unpack
from fedbal.deployment.seat import RunSeat, SiteOptions
from fedbal.grid import flower

SUPERLINK = 1


class Nodes(Grid):
    """Large ids in no order, errors from the SuperLink's own id, answers out of order.

    ``sites`` maps Flower's node id to ``answer(kind, group, content)``, which returns a content, an ``Error``
    (code 5 as the SuperLink makes it) or None: no answer ever.
    """

    def __init__(self, sites):
        flower.become()
        self.sites = dict(sites)
        self.asked = []
        self._run = flower.empty_run()
        self._replies = {}
        self._numbers = itertools.count()

    def set_run(self, run):
        self._run = run

    @property
    def run(self):
        return self._run

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None):
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self):
        return sorted(self.sites, key=lambda node: (node * 7919) % 101)

    def push_messages(self, messages):
        ids = []
        for message in messages:
            data = message.metadata
            key = f"m{next(self._numbers)}"
            flower.set_message_id(message, key)
            ids.append(key)
            site = self.sites.get(data.dst_node_id)
            self.asked.append((data.dst_node_id, data.message_type, data.ttl))
            answer = Error(5, "node unavailable") if site is None else self._answer(site, message)
            if answer is None:
                continue
            reply = Message(answer, reply_to=message)
            if isinstance(answer, Error) and answer.code == 5:
                reply.metadata.__dict__["_src_node_id"] = SUPERLINK
            self._replies[key] = reply
        return ids

    def _answer(self, site, message):
        data = message.metadata
        answer = site(data.message_type, data.group_id, unpack(message.content))
        return pack(answer) if isinstance(answer, RecordDict) else answer

    def pull_messages(self, message_ids):
        return [self._replies.pop(key) for key in sorted(message_ids, reverse=True) if key in self._replies]

    def send_and_receive(self, messages, *, timeout=None):
        raise AssertionError("the grid of a deployment polls by itself")


def site(scenario, folder, name, partition=-1, data=None):
    """Return how a site in this process answers; with a folder of its own it survives like a disk."""
    return RunSeat(scenario, SiteOptions(name, folder / name, data, partition)).answer


def node(number):
    """Return an id as Flower draws them."""
    return 10**17 + 104729 * number
