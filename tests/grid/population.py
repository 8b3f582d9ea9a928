"""A small population of real clients for tests of grids; importable by Ray workers."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord
from torch import nn

from clients.app import Trainer, make_app
from clients.base import ClientUpdate
from clients.data import ClientData, Pool, Split
from clients.losses import CrossEntropy
from clients.optimizers import SGD
from clients.standard import Standard
from clients.training import LocalPlan
from fedbal.grid.work import NodeDirectory
from fedbal.models.build import build
from fedbal.params import CustomParams
from fedbal.protocol import to_record
from fedbal.seeding import stream

CLIENTS = 6


class Counting(Standard):
    """Counts in its state how often a client has trained, and fails for one client on request."""

    def after(self, local, trained):
        seen = int(local.state["count"]["rounds"]) if "count" in local.state else 0
        local.state["count"] = ConfigRecord({"rounds": seen + 1})
        if local.config.get("fail") == local.data.key:
            raise RuntimeError("boom")
        return {"participations": [seen + 1]}


class Slow(Counting):
    """Takes its time, so that there is some in which a machine can fail."""

    def after(self, local, trained):
        time.sleep(0.3)
        return super().after(local, trained)


class Exiting(Standard):
    def after(self, local, trained):
        raise SystemExit(3)


@dataclass(frozen=True)
class Factory:
    """Makes the ClientApp of six clients with 10 to 60 samples."""

    update: type[ClientUpdate] = Counting

    def __call__(self):
        x, y, rows = samples()
        pool = Pool(x, y)

        def data_of(context):
            own = rows[int(context.node_config["partition-id"])]
            part = Split(pool, own)
            return ClientData(
                str(context.node_config["client"]), part, Split(pool, own[:0]), Split(pool, own[:5])
            )

        trainer = Trainer(network(), self.update(CrossEntropy()), SGD(0.1), LocalPlan(8, epochs=2), 3, 0)
        return make_app(trainer, data_of)


def network() -> nn.Module:
    return build(CustomParams(name="mlp", hidden=[8]), (5,), 3, 0)


def samples():
    generator = stream(0, "grid-test")
    sizes = [60, 10, 30, 20, 40, 50]
    x = generator.standard_normal((sum(sizes), 5)).astype(np.float32)
    y = generator.integers(0, 3, sum(sizes))
    bounds = np.cumsum([0, *sizes])
    return x, y, [np.arange(a, b) for a, b in itertools.pairwise(bounds)]


def initial() -> ArrayRecord:
    return to_record({name: value.numpy() for name, value in network().state_dict().items()})


def directory() -> NodeDirectory:
    return NodeDirectory(CLIENTS)


def nodes() -> list[int]:
    return [client + 2 for client in range(CLIENTS)]
