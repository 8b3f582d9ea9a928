"""FedProx: worked numbers of partial work, gamma, B and V, and adaptive mu, through real messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flwr.app import ConfigRecord

from clients.app import Trainer, make_app
from clients.data import ClientData, Pool, Split
from clients.optimizers import SGD
from clients.proximal import Proximal
from clients.training import LocalPlan
from fedbal.dissimilarity import GradientProbe, dissimilarity
from fedbal.grid.inprocess import InProcessGrid
from fedbal.grid.work import NodeDirectory
from fedbal.observer import Silent
from fedbal.protocol import LOCAL_WORK, config_of, copy_content, to_arrays, to_record
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from fedbal.systems import Systems
from strategies.fedavg import FedAvg
from strategies.fedprox import AdaptiveMu, FedProx
from tests.scenarios import digits, sha256
from tests.strategies.test_drift_rules import CENTRE, CURVATURE, Quadratic, Value

SIZES = (30, 10)


class Stop(Exception):
    """Ends a run from an observer."""


class StopAfterTwo(Silent):
    def round_finished(self, row):
        if row["round"] == 2:
            raise Stop


def population(mu, sizes=SIZES):
    """Return a trainer of quadratics and the data of two clients, copies of one row each."""
    owner = np.repeat([0, 1], sizes)
    rows = np.stack([np.array(CURVATURE)[owner], np.array(CENTRE)[owner]], 1).astype(np.float32)
    pool = Pool(rows, np.zeros(len(owner), np.int64))
    parts = [Split(pool, np.flatnonzero(owner == client)) for client in (0, 1)]
    data = [ClientData(str(client), part, part, part) for client, part in enumerate(parts)]
    return Trainer(Quadratic(), Proximal(Value(), mu), SGD(0.1), LocalPlan(10, steps=5), 2, 0), data


def straggling(policy):
    """Return the directives of a round in which client 1 does one of five steps."""
    for seed in range(500):
        systems = Systems(seed, 5, np.ones(2), np.ones(2), fraction=0.5, policy="partial")
        if systems.directives(1, [0, 1])[1].work == 1:
            return Systems(seed, 5, np.ones(2), np.ones(2), 0.5, policy).directives(1, [0, 1])
    raise AssertionError("no seed makes client 1 do one step")


def one_round(rule, mu, directives=None):
    """Return w after one round from 0."""
    trainer, data = population(mu)
    app = make_app(trainer, lambda context: data[int(context.node_config["partition-id"])])
    grid = InProcessGrid(app, NodeDirectory(2), [2, 3])
    messages = []
    for message in rule.configure_train(1, to_record({"w": np.zeros(())}), ConfigRecord(), grid):
        directive = (directives or {}).get(message.metadata.dst_node_id - 2)
        if directive is not None and directive.excluded is not None:
            continue
        if directive is not None and directive.work is not None:
            message.content = copy_content(message.content)
            config_of(message.content)[LOCAL_WORK] = directive.work
        messages.append(message)
    record, _ = rule.aggregate_train(1, grid.send_and_receive(messages))
    assert not rule.report.dropped
    return float(to_arrays(record)["w"])


@pytest.mark.parametrize(
    ("rule", "mu", "policy", "expected"),
    [
        (FedAvg, 0.0, "drop", 0.40951),
        (FedAvg, 0.0, "partial", 0.2321325),
        (FedProx, 0.0, "drop", 0.40951),
        (FedProx, 0.0, "partial", 0.2321325),
        (FedProx, 1.0, "drop", 0.33616),
        (FedProx, 1.0, "partial", 0.17712),
        (FedProx, 0.0, None, 0.09915),
        (FedProx, 1.0, None, 0.07920),
    ],
)
def test_partial_work_and_the_proximal_term_are_told_apart(rule, mu, policy, expected):
    directives = straggling(policy) if policy else None
    assert one_round(rule(), mu, directives) == pytest.approx(expected, abs=2e-5 if policy is None else 1e-6)


@pytest.mark.parametrize(
    ("mu", "policy", "gammas"),
    [
        (0.0, None, (0.59049, 0.16807)),
        (1.0, None, (0.32768, 0.07776)),
        (0.0, "partial", (0.59049, 0.7)),
        (1.0, "partial", (0.32768, 0.6)),
    ],
)
def test_gamma(mu, policy, gammas):
    rule = FedProx(mu, inexactness=True)
    one_round(rule, mu, straggling(policy) if policy else None)
    found = [rule.report.diagnostics[node]["gamma"] for node in (2, 3)]
    np.testing.assert_allclose(found, gammas, atol=1e-6)
    assert [entry.name for entry in rule.manifest] == ["inexactness"]


def test_dissimilarity_worked_numbers():
    trainer, data = population(0.0, (10, 10))
    for found in (
        dissimilarity([[-1.0], [3.0]], [5, 5]),
        GradientProbe(trainer, data, [20, 0])({"w": np.zeros(())}),
    ):
        assert found["B"] == pytest.approx(5**0.5)
        assert found["V"] == pytest.approx(4.0)
        assert found["gradient_norm"] == pytest.approx(1.0)
    same = dissimilarity([[1.0, 2.0]] * 3, [1, 5, 2])
    assert (same["B"], same["V"]) == (pytest.approx(1.0), pytest.approx(0.0))
    assert dissimilarity([[1.0], [-1.0]], [1, 1])["B"] is None


def test_adaptive_mu_worked_numbers():
    state = AdaptiveMu(1.0)
    for loss in (1, 0.9, 0.8, 0.7, 0.6):
        state = state.observe(loss)
        assert state.mu == 1.0
    state = state.observe(0.5)
    assert state.mu == pytest.approx(0.9)
    assert state.observe(0.6).mu == pytest.approx(1.0)
    low = AdaptiveMu(0.05)
    for loss in (1, 0.9, 0.8, 0.7, 0.6, 0.5):
        low = low.observe(loss)
    assert low.mu == 0.0


def test_an_adaptive_mu_is_sent_and_survives_a_resume(tmp_path):
    scenario = digits(
        "strategy={name: fedprox, mu: 0.5, adaptive: true}", "rounds=8", "client.optimizer.lr=0.3"
    )
    run(scenario, tmp_path / "whole")
    with pytest.raises(Stop):
        run(scenario, tmp_path / "part", observer=StopAfterTwo())
    resume(tmp_path / "part")
    assert sha256(tmp_path / "whole" / "model.safetensors") == sha256(tmp_path / "part" / "model.safetensors")
    rows = list(RunReader(tmp_path / "whole").clients())
    assert {row["status"] for row in rows} == {"ok"}
    assert len({row["mu"] for row in rows}) > 1
    run(
        digits("strategy={name: fedprox, mu: 0.5}", "rounds=8", "client.optimizer.lr=0.3"), tmp_path / "fixed"
    )
    assert sha256(tmp_path / "whole" / "model.safetensors") != sha256(
        tmp_path / "fixed" / "model.safetensors"
    )


def test_a_run_records_dissimilarity_and_gamma_and_stays_the_same(tmp_path):
    run(digits("strategy=fedprox", "evaluation.every=2"), tmp_path / "plain")
    asked = ("strategy={name: fedprox, inexactness: true}", "evaluation={every: 2, dissimilarity: true}")
    run(digits(*asked), tmp_path / "asked")
    assert sha256(tmp_path / "plain" / "model.safetensors") == sha256(
        tmp_path / "asked" / "model.safetensors"
    )
    reader = RunReader(tmp_path / "asked")
    found = [row["dissimilarity"] for row in reader.rounds()]
    assert found[0] is None
    assert found[2] is None
    assert found[1]["B"] ** 2 == pytest.approx(1 + found[1]["V"] / found[1]["gradient_norm"] ** 2)
    assert found[1]["B"] > 1
    assert 0 < found[1]["loss"] < math.log(10)
    assert all(row["gamma"] > 0 for row in reader.clients())
    assert "dissimilarity" not in RunReader(tmp_path / "plain").rounds()[-1]
