"""Workers that share a device without room for all of them: fewer go on, with the same bytes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch
from flwr.app import ConfigRecord, Message, RecordDict

from clients.memory import DeviceFull
from fedbal.grid.inprocess import InProcessGrid
from fedbal.grid.ray import RayGrid
from tests.grid.population import Counting, Factory, directory, initial, nodes


class Crowded(Counting):
    """Stands for a card with room for one process: who finds another one on it has no memory."""

    def __init__(self, criterion, card, room=1):
        super().__init__(criterion)
        self.card = Path(card)
        self.room = room
        (self.card / str(os.getpid())).touch()

    def before(self, local):
        others = [int(one.name) for one in self.card.iterdir() if alive(int(one.name))]
        if len(others) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().before(local)


def alive(process):
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def train_all(grid):
    content = RecordDict({"arrays": initial(), "config": ConfigRecord({"server-round": 1})})
    replies = grid.send_and_receive([Message(content, node, "train") for node in nodes()])
    return [reply.content["arrays"]["classifier.weight"].data for reply in replies]


def test_workers_leave_a_full_device_until_the_rest_fit(tmp_path):
    pytest.importorskip("ray")
    options = {"costs": [60.0, 10.0, 30.0, 20.0, 40.0, 50.0], "cohort": 6, "workers": 2, "num_cpus": 0.5}
    expected = train_all(InProcessGrid(Factory()(), directory(), nodes()))
    with RayGrid(Factory(partial(Crowded, card=tmp_path)), directory(), nodes(), **options) as grid:
        assert train_all(grid) == expected
        assert grid.workers == 1
        assert any("out of memory" in note and "1 worker(s) go on" in note for note in grid.notes)
        assert train_all(grid) == expected


def test_where_nobody_can_leave_the_run_ends_with_one_message(tmp_path):
    pytest.importorskip("ray")
    factory = Factory(partial(Crowded, card=tmp_path, room=0))
    options = {"costs": [1.0] * 6, "cohort": 6, "workers": 2, "num_cpus": 0.5}
    with (
        RayGrid(factory, directory(), nodes(), **options) as grid,
        pytest.raises(DeviceFull, match="one client does not fit"),
    ):
        train_all(grid)


def test_in_one_process_it_is_the_same_message(tmp_path):
    grid = InProcessGrid(Factory(partial(Crowded, card=tmp_path, room=0))(), directory(), nodes())
    with pytest.raises(DeviceFull, match=r"one client does not fit.*batch_size"):
        train_all(grid)
