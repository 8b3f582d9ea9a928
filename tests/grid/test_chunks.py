"""Chunks depend on the cohort and the engine alone, and every client is in one."""

from __future__ import annotations

import numpy as np
from flwr.app import ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from clients.engine import Engine
from clients.training import LocalPlan
from fedbal.grid.chunks import Chunks
from fedbal.grid.work import TRAIN, Task
from fedbal.protocol import CONFIG, LOCAL_WORK

SIZES = np.array([60, 10, 30, 20, 40, 50])


def task(client, kind=TRAIN, **config):
    return Task(client + 2, kind, RecordDict({CONFIG: ConfigRecord(config)}), (), RecordDict())


def test_clients_with_about_the_same_steps_go_together():
    chunks = Chunks(Engine("vectorized", 2), LocalPlan(10, epochs=1), SIZES)
    assert chunks.of_tasks([task(client) for client in range(6)]) == [[0, 5], [4, 2], [3, 1]]


def test_a_stragglers_work_counts():
    chunks = Chunks(Engine("vectorized", 2), LocalPlan(10, epochs=4), SIZES)
    tasks = [task(0, **{LOCAL_WORK: 1}), task(2), task(4)]
    assert chunks.of_tasks(tasks) == [[2, 1], [0]]


def test_ties_keep_client_order():
    chunks = Chunks(Engine("vectorized", 4), LocalPlan(10, steps=3), SIZES)
    assert chunks.of_tasks([task(client) for client in range(6)]) == [[0, 1, 2, 3], [4, 5]]


def test_a_loop_and_other_messages_go_one_by_one():
    loop = Chunks(Engine("loop", 3), LocalPlan(10, epochs=1), SIZES)
    assert loop.of_tasks([task(0), task(1)]) == [[0], [1]]
    assert loop.of([2, 3, 4, 5], [None] * 4) == [[0, 1, 2], [3]]
    together = Chunks(Engine("vectorized", 3), LocalPlan(10, epochs=1), SIZES)
    assert together.of_tasks([task(0, "evaluate"), task(1, "evaluate")]) == [[0], [1]]


@given(st.lists(st.integers(0, 5), unique=True), st.integers(1, 7), st.sampled_from(["loop", "vectorized"]))
def test_every_client_is_in_one_chunk(clients, chunk, kind):
    chunks = Chunks(Engine(kind, chunk), LocalPlan(10, epochs=1), SIZES)
    found = chunks.of([client + 2 for client in clients], [None] * len(clients))
    assert sorted(index for one in found for index in one) == list(range(len(clients)))
    assert all(len(one) <= chunk for one in found)
