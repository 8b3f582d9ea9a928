"""SCAFFOLD, FedDyn, FedProx, FedNova and FedAvg on quadratics whose solutions are known, through real messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord
from torch import nn

from clients.app import Trainer, make_app
from clients.data import ClientData, Pool, Split
from clients.feddyn import FedDyn as LocalDyn
from clients.moon import contrastive
from clients.normalised import normalised_steps
from clients.optimizers import SGD
from clients.proximal import Proximal
from clients.scaffold import Scaffold as LocalScaffold
from clients.standard import Standard
from clients.training import LocalPlan
from fedbal.grid.inprocess import InProcessGrid
from fedbal.grid.work import NodeDirectory
from fedbal.protocol import LOCAL_WORK, config_of, copy_content, to_arrays, to_record
from strategies.fedavg import FedAvg
from strategies.feddyn import FedDyn
from strategies.fednova import FedNova, nova_weights
from strategies.report import ServerContext
from strategies.scaffold import Scaffold

CURVATURE, CENTRE = (1.0, 3.0), (1.0, -1.0)


class Quadratic(nn.Module):
    """F_k(w) = h/2 (w - c)^2; its output is its loss."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        return 0.5 * x[:, :1].double() * (self.w - x[:, 1:].double()) ** 2


class Value:
    def __call__(self, logits, batch):
        return logits.mean()


def follow(rule, update, rounds, steps=5, lr=0.1, unequal=None):
    """Return w after each round of two clients with equal weights."""
    rule.context = ServerContext(num_classes=2, num_clients=2)
    pool = Pool(np.stack([CURVATURE, CENTRE], 1).astype(np.float32), np.zeros(2, np.int64))

    def data_of(context):
        part = Split(pool, np.array([int(context.node_config["partition-id"])]))
        return ClientData(str(context.node_config["client"]), part, part, part)

    trainer = Trainer(Quadratic(), update, SGD(lr), LocalPlan(1, steps=steps), 2, 0)
    grid = InProcessGrid(make_app(trainer, data_of), NodeDirectory(2), [2, 3])
    record, path = to_record({"w": np.zeros(())}), []
    for server_round in range(1, rounds + 1):
        messages = list(rule.configure_train(server_round, record, ConfigRecord(), grid))
        for message, work in zip(messages, unequal or (), strict=False):
            message.content = copy_content(message.content)
            config_of(message.content)[LOCAL_WORK] = work
        record, _ = rule.aggregate_train(server_round, grid.send_and_receive(messages))
        assert not rule.report.dropped
        path.append(float(to_arrays(record)["w"]))
    return path


@pytest.mark.parametrize(
    ("rule", "update", "first", "limit"),
    [
        (FedAvg, lambda: Standard(Value()), [-0.21121, -0.29131773, -0.32170099], -0.34026614),
        (FedAvg, lambda: Proximal(Value(), mu=1.0), [-0.17776, -0.26416558, -0.30616561], -0.34589041),
        (FedAvg, lambda: Proximal(Value(), mu=0.1), [], -0.34071572),
        (FedAvg, lambda: Proximal(Value(), mu=5.0), [], -0.38885596),
        (Scaffold, lambda: LocalScaffold(Value()), [-0.21121, -0.37337691, -0.45468548], -0.5),
    ],
)
def test_rounds_and_limits(rule, update, first, limit):
    path = follow(rule(), update(), 300)
    np.testing.assert_allclose(path[: len(first)], first, atol=1e-6)
    assert path[-1] == pytest.approx(limit, abs=1e-6)


def test_feddyn_with_an_exact_local_solution():
    path = follow(FedDyn(alpha=1.0), LocalDyn(Value(), alpha=1.0), 60, steps=300)
    np.testing.assert_allclose(path[:3], [-0.25, -0.375, -0.4375], atol=1e-6)
    assert path[-1] == pytest.approx(-0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("lr", "fedavg", "fednova"),
    [(0.1, -0.41860, 0.24224), (0.01, -0.80598, -0.39888), (0.001, -0.84236, -0.49004)],
)
def test_unequal_steps(lr, fedavg, fednova):
    rounds = 300 if lr > 0.005 else 1500
    for rule, expected in ((FedAvg(), fedavg), (FedNova(), fednova)):
        path = follow(rule, Standard(Value()), rounds, steps=20, lr=lr, unequal=(5, 20))
        assert path[-1] == pytest.approx(expected, abs=1e-5)


def test_scaffold_keeps_controls_that_average_to_the_servers():
    rule = Scaffold()
    follow(rule, LocalScaffold(Value()), 200)
    state = rule.state_dict()
    assert float(state["control/w"]) == pytest.approx(0.0, abs=1e-6)
    other = Scaffold()
    other.load_state_dict(state)
    assert other.state_dict().keys() == state.keys()


def test_fednova_worked_number_and_equal_steps():
    start, models = np.array([1.0, -1.0]), np.array([[0.5, -0.8], [0.9, -1.3], [1.4, -0.2]])
    factors = nova_weights([0.5, 0.3, 0.2], [10, 5, 2])
    np.testing.assert_allclose(start + factors @ (models - start), [1.0621, -0.5032], atol=1e-12)
    np.testing.assert_allclose(nova_weights([0.5, 0.3, 0.2], [7, 7, 7]), [0.5, 0.3, 0.2])


@pytest.mark.parametrize(("steps", "norm"), [(1, 1), (2, 2.9), (5, 13.1441), (10, 41.38105961)])
def test_normalised_steps_with_momentum(steps, norm):
    assert normalised_steps(steps, momentum=0.9) == pytest.approx(norm, abs=1e-8)
    assert normalised_steps(steps) == steps


@pytest.mark.parametrize(("temperature", "expected"), [(0.5, 0.26328247), (1.0, 0.43748795)])
def test_contrastive_worked_number(temperature, expected):
    z, near, far = (torch.tensor([row], dtype=torch.float64) for row in ([1.0, 0], [0.6, 0.8], [0, 1.0]))
    assert float(contrastive(z, near, far, temperature)) == pytest.approx(expected, abs=1e-8)
    assert float(contrastive(z, near, near, temperature)) == pytest.approx(np.log(2))
