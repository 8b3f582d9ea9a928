"""Cohorts of unequal clients for tests of training one by one and at once."""

from __future__ import annotations

import numpy as np
import torch
from flwr.app import ConfigRecord, RecordDict

from clients import LOSSES, UPDATES
from clients.data import ClientData, Pool, Split
from clients.jobs import finish, prepare
from clients.optimizers import SGD
from clients.records import encode
from clients.trainer import Trainer
from clients.training import LocalPlan, StepOptions
from fedbal import protocol
from fedbal.models.build import build
from fedbal.params import CustomParams
from fedbal.seeding import stream

SIZES = (23, 8, 31, 8, 1, 16, 40)
CLASSES = 4
MODELS = {
    "logistic": ({}, (6,)),
    "mlp": ({"hidden": [9, 7]}, (6,)),
    "cnn": ({}, (1, 28, 28)),
    "resnet18_gn": ({}, (3, 8, 8)),
}


class DoublePool(Pool):
    """Rows as float64, to compare far below the rounding of float32."""

    def cut(self, x, y, rows, shift=None):
        x, y = super().cut(x, y, rows, shift)
        return x.to(torch.float64), y


def members(shape=(6,), sizes=SIZES, double=False, **changes) -> list[ClientData]:
    """Clients on one pool; some have one class only, and ``changes`` are those of their splits by client."""
    rng = stream(0, "cohort-test")
    total = sum(sizes)
    labels = rng.integers(0, CLASSES, total)
    labels[: sizes[0]] %= 2
    x = rng.standard_normal((total, *shape)).astype(np.float32)
    x += labels.reshape(-1, *([1] * len(shape))).astype(np.float32) * 0.3
    pool = (DoublePool if double else Pool)(x, labels)
    bounds = np.cumsum([0, *sizes])
    found = []
    for client in range(len(sizes)):
        rows = np.arange(bounds[client], bounds[client + 1])
        own = {name: make(client) for name, make in changes.items()}
        split = Split(pool, rows, **own)
        found.append(ClientData(str(client), split, split, split))
    return found


def trainer(
    model="mlp", update="standard", loss="cross_entropy", optimizer=None, plan=None, double=False, **options
) -> Trainer:
    """A trainer of one of the shipped models; ``update`` and ``loss`` are names or (name, arguments)."""
    arguments, shape = MODELS[model]
    network = build(CustomParams(name=model, **arguments), shape, CLASSES, 0)
    if double:
        network = network.to(torch.float64)
    criterion = _make(LOSSES, loss)
    steps = {key: options.pop(key) for key in ("clip_norm", "augment") if key in options}
    return Trainer(
        network,
        _make(UPDATES, update, criterion),
        optimizer or SGD(0.05),
        plan or LocalPlan(8, epochs=2),
        CLASSES,
        0,
        options=StepOptions(**steps),
        **options,
    )


def _make(table, choice, *arguments):
    name, options = (choice, {}) if isinstance(choice, str) else choice
    return table.load(name)(*arguments, **options)


def message(trainer: Trainer, server_round: int, **config) -> RecordDict:
    """A training message; from the second round on its model is a little further."""
    state = trainer.model.state_dict()
    shift = 0.01 * (server_round - 1)
    model = {name: state[name].detach() + shift for name in trainer.shared}
    counts = {protocol.CLASS_COUNTS: [10, 5, 3, 1]}
    settings = ConfigRecord({protocol.SERVER_ROUND: server_round, **counts, **config})
    return RecordDict({protocol.ARRAYS: encode(model), protocol.CONFIG: settings})


def answers(trainer: Trainer, data: list[ClientData], train, rounds=2, work=None):
    """Run rounds of all clients, ``train(trainer, jobs)`` being how; return the replies of every round."""
    states = [RecordDict() for _ in data]
    replies = []
    for server_round in range(1, rounds + 1):
        jobs = []
        for client, (one, state) in enumerate(zip(data, states, strict=True)):
            units = {} if work is None else {protocol.LOCAL_WORK: work[client]}
            jobs.append(prepare(trainer, one, message(trainer, server_round, **units), state))
        for job, result in zip(jobs, train(trainer, jobs), strict=True):
            replies.append(finish(trainer, job, *result))
    return replies


def distance(first, second) -> float:
    """Relative L2 distance between the models of two replies."""
    ours = torch.cat([first.tensors[name].flatten().to(torch.float64) for name in second.tensors])
    theirs = torch.cat([value.flatten().to(torch.float64) for value in second.tensors.values()])
    return float((ours - theirs).norm() / theirs.norm())
