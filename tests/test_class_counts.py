"""Class counts of all clients: asked once through messages, told with every model, kept over a resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from clients.base import LocalRound
from clients.calibrated import BalancedSoftmax, LogitAdjustment
from clients.losses import ClassBalanced, CrossEntropy, class_prior
from fedbal import checkpoint, protocol
from fedbal.assembly import assemble
from fedbal.class_counts import ask_class_counts
from fedbal.errors import RunError
from fedbal.grid.inprocess import InProcessGrid
from fedbal.grid.work import NodeDirectory
from fedbal.observer import Silent
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from tests.scenarios import digits, sha256

GLOBAL = "client.loss={name: balanced_softmax, prior: global}"


class Stop(Exception):
    """Ends a run from an observer."""


class StopAfterTwo(Silent):
    def round_finished(self, row):
        if row["round"] == 2:
            raise Stop


def model_of(path):
    return sha256(path / "model.safetensors")


def test_the_sum_that_clients_answer_is_that_of_the_federation():
    assembly = assemble(digits(), "cpu")
    grid = InProcessGrid(assembly.clients(), assembly.directory, assembly.population.nodes)
    found = ask_class_counts(grid, assembly.population.nodes, 10)
    assert found.counts == assembly.federation.label_counts().sum(axis=0).tolist()
    assert not found.missing
    assert found.bytes_up > 0
    assert found.bytes_down > 0


@pytest.mark.parametrize("bad", [[1, 2], [1, -1, 0], [1.0, 2.0, 3.0], None])
def test_answers_that_cannot_be_are_named_and_left_out(bad):
    app = ClientApp()

    @app.query()
    def _query(message, context):
        counts = bad if context.node_config["partition-id"] == 1 else [3, 0, 1]
        extras = ConfigRecord({} if counts is None else {protocol.LABEL_COUNTS: counts})
        return Message(RecordDict({protocol.EXTRAS: extras, "m": MetricRecord()}), reply_to=message)

    found = ask_class_counts(InProcessGrid(app, NodeDirectory(3), [2, 3, 4]), [2, 3, 4], 3)
    assert found.counts == [6, 0, 2]
    assert list(found.missing) == [3]
    assert "label-counts must be 3 whole numbers" in found.missing[3]


def local(config, counts=(4, 0, 2)):
    class Part:
        pool = torch.zeros(1)

        def label_counts(self, num_classes):
            return np.array(counts, np.int64)

    data = type("Data", (), {"train": Part()})()
    return LocalRound(1, {}, data, 3, ConfigRecord(config))


@pytest.mark.parametrize("kind", [BalancedSoftmax, LogitAdjustment, ClassBalanced])
def test_a_loss_reads_the_counts_that_it_was_asked_to_read(kind):
    sent = {protocol.CLASS_COUNTS: [100, 10, 1]}
    everyone, own = kind(prior="global"), kind()
    expected = everyone.prior(torch.tensor([100, 10, 1]))
    torch.testing.assert_close(class_prior(everyone, local(sent)), expected)
    torch.testing.assert_close(class_prior(own, local(sent)), own.prior(torch.tensor([4, 0, 2])))
    assert not torch.equal(class_prior(everyone, local(sent)), class_prior(own, local(sent)))
    assert [entry.name for entry in everyone.discloses] == ["label-counts"]
    assert own.discloses == CrossEntropy().discloses == ()


def test_a_class_that_nobody_has_is_masked_and_one_that_a_client_lacks_is_not():
    shift = class_prior(BalancedSoftmax(prior="global"), local({protocol.CLASS_COUNTS: [100, 10, 0]}))
    assert shift[1] > -10
    assert shift[2] < -1e8


@pytest.mark.parametrize("sent", [{}, {protocol.CLASS_COUNTS: [1, 2]}])
def test_counts_that_did_not_come_are_one_clear_message(sent):
    with pytest.raises(ValueError, match="prior: global, and the server sent no counts of 3 classes"):
        class_prior(BalancedSoftmax(prior="global"), local(sent))


@pytest.mark.parametrize("loss", ["balanced_softmax", "logit_adjustment", "class_balanced"])
def test_with_one_client_global_is_local_bit_for_bit(tmp_path, loss):
    one = "data.partition={name: iid, clients: 1}"
    for prior in ("local", "global"):
        run(digits(f"client.loss={{name: {loss}, prior: {prior}}}", one, "rounds=2"), tmp_path / prior)
    assert model_of(tmp_path / "local") == model_of(tmp_path / "global")


def test_a_run_asks_once_and_a_resumed_one_has_the_same_bytes(tmp_path):
    scenario = digits(GLOBAL, "rounds=5")
    run(scenario, tmp_path / "whole")
    with pytest.raises(Stop):
        run(scenario, tmp_path / "part", observer=StopAfterTwo())
    counts = assemble(scenario, "cpu").federation.label_counts().sum(axis=0).tolist()
    assert checkpoint.load(tmp_path / "part").progress["class_counts"] == counts
    resume(tmp_path / "part")
    assert model_of(tmp_path / "whole") == model_of(tmp_path / "part")
    one, two = (RunReader(tmp_path / name) for name in ("whole", "part"))
    assert one.summary()["bytes"] == two.summary()["bytes"]
    run(digits("client.loss=balanced_softmax", "rounds=5"), tmp_path / "local")
    assert model_of(tmp_path / "whole") != model_of(tmp_path / "local")
    first, other = one.rounds(), RunReader(tmp_path / "local").rounds()
    assert first[0]["bytes_up"] > other[0]["bytes_up"]
    assert first[1]["bytes_up"] == other[1]["bytes_up"]


def test_flowers_own_strategies_pass_the_counts_on(tmp_path):
    run(digits(GLOBAL, "strategy=flwr.serverapp.strategy:FedAvg", "rounds=2"), tmp_path / "run")
    assert {row["status"] for row in RunReader(tmp_path / "run").clients()} == {"ok"}


def test_a_run_in_which_nobody_answers_ends_with_one_message(tmp_path, monkeypatch):
    from clients import app

    def refuse(*_):
        raise RuntimeError("not today")

    monkeypatch.setattr(app, "_query_reply", refuse)
    with pytest.raises(RunError, match=r"no client gave its class counts.*not today"):
        run(digits(GLOBAL), tmp_path / "run")


def test_ray_gives_the_same_bytes(tmp_path):
    pytest.importorskip("ray")
    for backend in ("inprocess", "ray"):
        run(digits(GLOBAL, "rounds=2", f"runtime.backend={backend}", "runtime.workers=2"), tmp_path / backend)
    assert model_of(tmp_path / "inprocess") == model_of(tmp_path / "ray")
    one, two = (RunReader(tmp_path / name).summary()["bytes"] for name in ("inprocess", "ray"))
    assert one == two
