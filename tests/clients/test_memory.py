"""A device without room: fewer clients at once, begun again from a clean state; an error only at one client."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from flwr.app import Context, Message, RecordDict

from clients import memory
from clients.app import make_app
from clients.augment import Augmentation
from clients.cohort import train_cohort
from clients.engine import LOOP, Engine
from clients.jobs import prepare
from clients.memory import OUT_OF_MEMORY, DeviceFull, Memory
from clients.standard import Standard
from fedbal.grid import flower
from tests.clients.cohorts import members, message, trainer

SIZES = (23, 8, 31, 8, 1, 16, 40)


def jobs_of(made, data):
    return [prepare(made, one, message(made, 1), RecordDict()) for one in data]


class Card:
    """Trains as on a device with room for ``room`` clients at once; notices only when the work is done."""

    def __init__(self, room):
        self.room = room
        self.sizes = []

    def __call__(self, trainer, jobs, engine, parted=None):
        found = train_cohort(trainer, jobs, engine)
        self.sizes.append(len(jobs))
        if len(jobs) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
        return found


@pytest.fixture
def card(monkeypatch):
    def insert(room):
        made = Card(room)
        monkeypatch.setattr(memory, "train_cohort", made)
        return made

    return insert


@pytest.mark.parametrize("augment", [False, True])
def test_halves_train_what_they_would_have_trained_at_first(card, augment):
    model, shape = ("cnn", (1, 28, 28)) if augment else ("mlp", (6,))
    options = {"augment": Augmentation(2, True)} if augment else {}
    made, data = trainer(model, **options), members(shape, SIZES)
    engine = Engine("vectorized", 7)
    jobs = jobs_of(made, data)
    expected = [
        one
        for a, b in ((0, 2), (2, 4), (4, 6), (6, 7))
        for one in train_cohort(made, jobs_of(made, data)[a:b], engine)
    ]
    inserted, relief = card(2), Memory()
    found = relief.train(made, jobs, engine)
    assert inserted.sizes == [7, 4, 2, 2, 2, 1]
    assert relief.chunk == 2
    for (tensors, loss), (others, other_loss) in zip(found, expected, strict=True):
        assert loss == other_loss
        assert all(torch.equal(tensors[name], others[name]) for name in others)
    assert [job.local.progress.steps for job in jobs] == [job.steps for job in jobs]


def test_once_full_the_chunk_stays_small(card):
    made, data = trainer(), members()
    inserted, relief = card(4), Memory()
    relief.train(made, jobs_of(made, data), Engine("vectorized", 7))
    relief.train(made, jobs_of(made, data), Engine("vectorized", 7))
    assert inserted.sizes == [7, 4, 3, 4, 3]


def test_a_device_with_room_is_not_noticed(card):
    made, relief = trainer(), Memory()
    card(7)
    assert len(relief.train(made, jobs_of(made, members()), Engine("vectorized", 7))) == 7
    assert relief.chunk is None


@pytest.mark.parametrize("engine", [LOOP, Engine("vectorized", 7)])
def test_one_client_that_does_not_fit_is_an_error_of_the_device(card, engine):
    made = trainer()
    card(0)
    with pytest.raises(
        DeviceFull, match=r"one client does not fit.*Tried to allocate 2 GiB.*batch_size"
    ) as info:
        Memory().train(made, jobs_of(made, members()), engine)
    assert "more" not in str(info.value)


class Hungry(Standard):
    """Asks for more memory than there is."""

    def loss(self, forward, params, batch, frozen):
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_loop_does_not_take_a_full_device_for_a_client_that_failed():
    made = trainer()
    made = replace(made, update=Hungry(made.update.criterion))
    with pytest.raises(torch.OutOfMemoryError):
        train_cohort(made, jobs_of(made, members()), LOOP)


def test_a_message_is_answered_with_a_code_of_its_own():
    made = trainer()
    made = replace(made, update=Hungry(made.update.criterion))
    data = members()
    flower.become()
    app = make_app(made, lambda context: data[0])
    reply = app(Message(message(made, 1), 1, "train"), Context(1, 1, {}, RecordDict(), {}))
    assert reply.error.code == OUT_OF_MEMORY
    assert "batch_size" in reply.error.reason
