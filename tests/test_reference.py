"""The reference rows: every client alone, and all data in one place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import RecordDict
from safetensors.numpy import load_file

from clients.base import LocalRound
from clients.standard import Standard
from clients.training import evaluate, train
from fedbal import apps
from fedbal.assembly import assemble
from fedbal.errors import UsageError
from fedbal.observer import Silent
from fedbal.reference import centralised, pooled
from fedbal.results import RunReader
from fedbal.seeding import stream
from fedbal.simulation import resume, run
from tests.scenarios import digits


class Stop(Exception):
    """Ends a run from an observer."""


class StopAfterTwo(Silent):
    def round_finished(self, row):
        if row["round"] == 2:
            raise Stop


ALONE = (
    "strategy=local_only",
    "cohort.fraction=1.0",
    "data.client_test=0.3",
    "evaluation.min_client_samples=1",
)


def alone(scenario, client):
    """Train one client by itself for all rounds and return its test confusion."""
    assembly = assemble(scenario, "cpu")
    trainer = assembly.clients.trainer()
    context = type("Node", (), {"node_config": {"partition-id": client}})()
    data = assembly.clients.data_of()(context)
    state = {name: torch.from_numpy(value) for name, value in assembly.initial.items()}
    for server_round in range(1, scenario.rounds + 1):
        batches = trainer.plan.minibatches(trainer.seed, data.key, server_round, len(data.train))
        local = LocalRound(server_round, state, data, trainer.num_classes, state=RecordDict())
        update = Standard(trainer.update.criterion)
        state, _ = train(trainer.model, update, trainer.optimizer, local, {}, batches)
    return evaluate(trainer.model, state, data.test, trainer.measures).counts


def test_local_only_is_training_each_client_alone(tmp_path):
    scenario = digits(*ALONE)
    run(scenario, tmp_path / "run")
    last = RunReader(tmp_path / "run").rounds()[-1]
    clients = range(scenario.data.partition.clients)
    matrices = [matrix for matrix in (alone(scenario, client) for client in clients) if matrix.sum()]
    share = sum(np.trace(matrix) for matrix in matrices) / sum(matrix.sum() for matrix in matrices)
    mean = np.mean([np.trace(matrix) / matrix.sum() for matrix in matrices])
    final = last["personal"]["final"]
    assert final["pooled_accuracy"] == pytest.approx(share)
    assert final["mean"] == pytest.approx(mean)
    assert mean > 0.6


def test_local_only_keeps_the_initial_model_and_sends_nothing_of_a_client(tmp_path):
    scenario = digits(*ALONE, "evaluation.clients=0")
    run(scenario, tmp_path / "run")
    found = load_file(tmp_path / "run" / "model.safetensors")
    for name, value in assemble(scenario, "cpu").initial.items():
        np.testing.assert_array_equal(found[name], value)
    reader = RunReader(tmp_path / "run")
    assert {row["update_norm"] for row in reader.clients()} == {0.0}
    assert any("the global model stays the initial one" in note for note in reader.summary()["notes"])


def test_local_models_survive_a_resume_and_rounds_without_them(tmp_path):
    scenario = digits(*ALONE, "cohort.fraction=0.5", "rounds=5")
    run(scenario, tmp_path / "whole")
    with pytest.raises(Stop):
        run(scenario, tmp_path / "part", observer=StopAfterTwo())
    resume(tmp_path / "part")
    one, two = (RunReader(tmp_path / name).rounds()[-1] for name in ("whole", "part"))
    assert one["personal"] == two["personal"]
    assert one["personal"] is not None


def test_centralised_is_plain_sgd_on_the_pooled_data(tmp_path):
    scenario = digits("strategy=centralised", "data.partition={name: iid, clients: 1}", "cohort.fraction=1.0")
    run(scenario, tmp_path / "run")
    assembly = assemble(scenario, "cpu")
    dataset = assembly.federation.dataset
    rows = np.sort(assembly.federation.train.indices)
    x = torch.from_numpy(dataset.x[rows]).float() / assembly.test.split.pool._divide
    y = torch.from_numpy(dataset.y[rows])
    network = assembly.clients.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for server_round in range(1, scenario.rounds + 1):
        generator = stream(0, "batches", "pooled", server_round)
        for _ in range(2):
            order = generator.permutation(len(rows))
            for start in range(0, len(rows), 10):
                batch = torch.from_numpy(order[start : start + 10])
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
                optimizer.step()
    found = load_file(tmp_path / "run" / "model.safetensors")
    for name, value in network.state_dict().items():
        np.testing.assert_allclose(found[name], value.numpy(), atol=1e-5)


def test_centralised_does_the_work_of_a_cohort_and_evaluates_on_the_same_clients(tmp_path):
    changes = ("data.client_test=0.2", "cohort.fraction=0.5", "systems.stragglers.fraction=0.5")
    federated = assemble(digits(*changes), "cpu")
    central = assemble(digits("strategy=centralised", *changes), "cpu")
    n = int(federated.federation.train.sizes.sum())
    assert central.clients.plan.steps == round(0.5 * 2 * -(-n // 10))
    assert central.federation.train.sizes.tolist() == [0] * 8 + [n]
    np.testing.assert_array_equal(
        central.federation.client_test.sizes[:8], federated.federation.client_test.sizes
    )
    assert central.population.testers == federated.population.testers
    run(digits("strategy=centralised", *changes), tmp_path / "central")
    run(digits(*changes), tmp_path / "federated")
    one, two = (RunReader(tmp_path / name).rounds()[-1] for name in ("central", "federated"))
    assert one.keys() == two.keys()
    assert one["test"].keys() == two["test"].keys()
    assert one["fairness"].keys() == two["fairness"].keys()
    assert one["fairness"]["clients"] == two["fairness"]["clients"]
    assert one["test"]["accuracy"] > two["test"]["accuracy"]
    assert RunReader(tmp_path / "central").summary()["strategy"] == "centralised"


def test_centralised_with_steps_counts_those_of_the_cohort():
    scenario = digits("strategy=centralised", "client={local_steps: 3}", "cohort={size: 4}")
    assert assemble(scenario, "cpu").clients.plan.steps == 12


def test_centralised_refuses_a_cohort_that_the_federation_could_not_give():
    scenario = digits("cohort={size: 8}")
    lopsided = pooled(assemble(scenario, "cpu").federation)
    with pytest.raises(UsageError, match=r"cohort\.size: a cohort of 8 clients was asked of 1"):
        centralised(scenario, lopsided)


def test_centralised_is_for_simulation_only():
    from flwr.app import Context

    config = {"scenario": "quickstart", "set": "strategy=centralised"}
    context = Context(1, 1, {}, RecordDict(), config)
    with pytest.raises(UsageError, match="only a simulation"):
        apps.main(None, context)


def test_centralised_is_paired_by_partition_and_initial_model(tmp_path):
    for name in ("centralised", "fedavg"):
        run(digits(f"strategy={name}", "rounds=2"), tmp_path / name)
    one, two = (RunReader(tmp_path / name).fingerprints for name in ("centralised", "fedavg"))
    assert (one["partition"], one["initial"]) == (two["partition"], two["initial"])
    assert one["cohorts"] != two["cohorts"]
    federation = assemble(digits(), "cpu").federation
    other = assemble(digits("seed.partition=1"), "cpu").federation
    central = pooled(federation)
    for part in ("train", "validation", "client_test"):
        left, right = (np.sort(getattr(each, part).indices) for each in (central, federation))
        np.testing.assert_array_equal(left, right)
    assert central.fingerprint() == federation.fingerprint() != pooled(other).fingerprint()


def test_a_client_may_be_called_pooled():
    federation = assemble(digits(), "cpu").federation
    taken = replace(federation, names=["pooled", *federation.names[1:]])
    assert pooled(taken).names[-1] == "pooled_"
