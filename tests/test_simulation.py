"""Whole runs: what the run directory holds, pairing, backends, the rules' effect on the round."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from fedbal.errors import RunError, UsageError
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from tests.scenarios import digits, sha256

TEST_KEYS = {
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "per_class_recall",
    "worst_class_recall",
    "loss",
    "samples",
    "per_class_precision",
    "g_mean",
    "never_predicted",
    "many",
    "medium",
    "few",
    "groups",
    "nll",
    "brier",
    "ece",
    "auroc",
    "auprc",
    "per_class_auroc",
    "per_class_auprc",
    "natural",
    "balanced",
}


def execute(tmp_path, *overrides, name="run"):
    result = run(digits(*overrides), tmp_path / name)
    return RunReader(result.directory)


def model_hash(reader):
    return sha256(reader.path / "model.safetensors")


def test_the_run_directory_holds_what_it_should(tmp_path):
    reader = execute(tmp_path, "strategy=feddisco")
    assert reader.status == "finished"
    rounds = reader.rounds()
    assert [row["round"] for row in rounds] == [1, 2, 3, 4]
    for row in rounds:
        assert set(row["test"]) == TEST_KEYS
        assert {"fairness", "train", "seconds", "simulated_seconds", "bytes_up", "bytes_down"} <= set(row)
        assert row["sampled"] == row["replied"] == 4
        assert row["bytes_up"] > row["bytes_down"] > 0
        assert row["fairness"]["model_round"] == row["round"] - 1
    assert rounds[-1]["fairness"]["final"]["model_round"] == 4
    clients = reader.clients()
    assert len(clients) == 16
    for number in (1, 2, 3, 4):
        weights = [row["weight"] for row in clients if row["round"] == number]
        assert sum(weights) == pytest.approx(1.0)
    assert all(0 <= row["discrepancy"] <= 1 for row in clients)
    summary = reader.summary()
    assert summary["final"] == rounds[-1]["test"]
    assert summary["strategy"] == "feddisco"
    assert summary["best"]["balanced_accuracy"] == max(row["test"]["balanced_accuracy"] for row in rounds)
    keys = {"partition", "initial", "cohorts", "batches", "task", "engine", "code", "packages", "hardware"}
    assert set(reader.fingerprints) == keys
    assert all(reader.fingerprints.values())
    shapes = {name: value.shape for name, value in load_file(reader.path / "model.safetensors").items()}
    assert shapes["classifier.weight"] == (10, 16)
    table = (reader.path / "clients.csv").read_text().splitlines()
    assert len(table) == 9
    assert table[0].startswith("client,train,validation,client_test,samples_per_second,class_0")


@pytest.mark.parametrize("strategy", ["fedavg", "{name: fedprox, mu: 0.1}", "feddisco"])
@pytest.mark.parametrize(
    "data",
    [
        "{dataset: digits, partition: {name: iid, clients: 5}}",
        "{dataset: synthetic, alpha: 1, beta: 1, clients: 6, validation: 0.0, client_test: 0.0}",
    ],
)
def test_rules_learn(tmp_path, strategy, data):
    model = "logistic" if "synthetic" in data else "{name: mlp, hidden: [32]}"
    lr = "client.optimizer.lr=0.01" if "synthetic" in data else "client.optimizer.lr=0.1"
    reader = execute(
        tmp_path,
        f"data={data}",
        f"strategy={strategy}",
        f"model={model}",
        lr,
        "rounds=8",
        "client.local_epochs=5",
    )
    rounds = reader.rounds()
    assert rounds[-1]["test"]["accuracy"] > 0.6
    assert rounds[-1]["test"]["loss"] < rounds[0]["test"]["loss"]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    first, second = execute(tmp_path, name="a"), execute(tmp_path, name="b")
    other = execute(tmp_path, "seed=1", name="c")
    assert model_hash(first) == model_hash(second)
    assert model_hash(first) != model_hash(other)


def test_rules_of_one_seed_are_paired(tmp_path):
    runs = [
        execute(tmp_path, f"strategy={name}", "systems.stragglers.fraction=0.5", name=name)
        for name in ("fedavg", "fedprox", "feddisco")
    ]
    for key in ("partition", "initial", "cohorts", "batches"):
        assert len({reader.fingerprints[key] for reader in runs}) == 1, key
    stragglers = [[row["status"] for row in reader.clients()] for reader in runs]
    assert stragglers[0] == stragglers[1] == stragglers[2]
    assert len({model_hash(reader) for reader in runs}) == 3


@pytest.mark.parametrize(
    "change", ["client.batch_size=5", "cohort.fraction=0.75", "seed={training: 3}", "data.validation=0.0"]
)
def test_what_unpairs_runs_shows_in_the_fingerprints(tmp_path, change):
    plain, changed = execute(tmp_path, name="a"), execute(tmp_path, change, name="b")
    keys = ("partition", "initial", "cohorts", "batches")
    assert any(plain.fingerprints[key] != changed.fingerprints[key] for key in keys)


def test_neutral_parameters_are_fedavg_bit_for_bit(tmp_path):
    expected = model_hash(execute(tmp_path, name="fedavg"))
    for name, strategy in {
        "prox": "{name: fedprox, mu: 0}",
        "disco": "{name: feddisco, a: 0, b: 0}",
    }.items():
        assert model_hash(execute(tmp_path, f"strategy={strategy}", name=name)) == expected


def test_policy_drop_keeps_only_the_others_and_partial_keeps_everyone(tmp_path):
    shared = ("cohort={size: 8}", "systems.stragglers.fraction=0.5", "client.local_epochs=3")
    drop = execute(tmp_path, *shared, name="drop")
    partial = execute(tmp_path, *shared, "systems.stragglers.policy=partial", name="partial")
    for row in drop.rounds():
        assert (row["sampled"], row["replied"], row["dropped"]) == (8, 4, 4)
    for row in partial.rounds():
        assert (row["sampled"], row["replied"], row["dropped"]) == (8, 8, 0)
    late = [row["client"] for row in drop.clients() if row["status"] == "straggler"]
    assert late == [row["client"] for row in partial.clients() if row["local_work"] is not None]
    assert {row["local_work"] for row in partial.clients()} <= {None, 1, 2, 3}
    assert [row["simulated_seconds"] for row in drop.rounds()] == [
        row["simulated_seconds"] for row in partial.rounds()
    ]


def test_dropouts_are_named_and_a_round_without_replies_keeps_the_model(tmp_path):
    reader = execute(tmp_path, "systems.client_dropout=0.99", "rounds=2", "cohort={size: 2}")
    assert {row["status"] for row in reader.clients()} == {"dropout"}
    first, second = reader.rounds()
    assert first["replied"] == 0
    assert first["test"] == second["test"]


def test_evaluation_only_at_the_end(tmp_path):
    reader = execute(tmp_path, "evaluation.every=100")
    tests = [row["test"] for row in reader.rounds()]
    assert tests[:3] == [None, None, None]
    assert set(tests[3]) == TEST_KEYS
    assert reader.rounds()[0]["fairness"] is None


def test_clients_evaluate_in_the_cohort_only_or_a_number_of_them_or_none(tmp_path):
    everyone = execute(tmp_path, "evaluation.clients=all", name="all").rounds()[0]["fairness"]
    cohort = execute(tmp_path, "evaluation.clients=cohort", name="cohort").rounds()[0]["fairness"]
    two = execute(tmp_path, "evaluation.clients=2", name="two").rounds()[0]["fairness"]
    assert everyone["pooled_n"] > cohort["pooled_n"] > 0
    assert 0 < two["pooled_n"] < everyone["pooled_n"]
    assert execute(tmp_path, "evaluation.clients=0", name="none").rounds()[0]["fairness"] is None


def test_a_diverging_run_says_so(tmp_path):
    reader = execute(tmp_path, "client.optimizer.lr=1e30", "rounds=2")
    assert reader.status == "diverged"
    assert any("non-finite" in (row["reason"] or "") for row in reader.clients())
    text = (reader.path / "rounds.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_a_directory_with_another_run_is_refused(tmp_path):
    execute(tmp_path)
    with pytest.raises(UsageError, match=r"holds another run.*--resume"):
        run(digits(), tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        run(digits(), tmp_path / "full")
    assert (tmp_path / "full" / "thesis.tex").read_text() == "mine"


def test_what_cannot_run_leaves_nothing_behind(tmp_path):
    with pytest.raises(UsageError, match=r"cohort\.size"):
        run(
            digits("data.partition.clients=8", "data.partition.alpha=0.01", "cohort={size: 8}"),
            tmp_path / "run",
        )
    with pytest.raises(UsageError, match=r"strategy\.target has 2 numbers.*10 classes"):
        run(digits("strategy={name: feddisco, target: [0.5, 0.5]}"), tmp_path / "run")
    nested = "strategy={name: fedavgm, weighting: {name: feddisco, target: [0.5, 0.5]}}"
    with pytest.raises(UsageError, match=r"strategy\.weighting\.target has 2 numbers"):
        run(digits(nested), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_gpu_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="no GPU"):
        run(digits("runtime.num_gpus=0.25"), tmp_path / "run")
    with pytest.raises(UsageError, match="CUDA device"):
        run(digits("runtime.device=cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


RULE = '''
from strategies.fedavg import FedAvg
import numpy as np

class Largest(FedAvg):
    """Takes the largest client's model."""

    def __init__(self, share=1.0):
        super().__init__()
        self.share = share

    def weights(self, replies):
        sizes = np.array([reply.num_examples for reply in replies])
        chosen = (sizes == sizes.max()).astype(float)
        return chosen / chosen.sum()
'''


def test_a_users_own_rule(tmp_path, monkeypatch):
    (tmp_path / "my_rule.py").write_text(RULE)
    monkeypatch.chdir(tmp_path)
    reader = execute(tmp_path, 'strategy={name: "./my_rule.py:Largest", share: 0.5}')
    weights = [row["weight"] for row in reader.clients()]
    assert sorted(weights)[-4:] == [1.0] * 4
    with pytest.raises(UsageError, match="refuses"):
        execute(tmp_path, 'strategy={name: "./my_rule.py:Largest", shar: 0.5}', name="typo")


@pytest.mark.parametrize(
    "strategy",
    [
        "flwr.serverapp.strategy:FedAvg",
        "{name: 'flwr.serverapp.strategy:FedAdam', eta: 0.01}",
        "{name: 'flwr.serverapp.strategy:Krum', num_malicious_nodes: 1}",
    ],
)
def test_stock_strategies_run_through_our_loop_and_resume(tmp_path, strategy):
    whole = execute(tmp_path, f"strategy={strategy}", name="whole")
    assert whole.rounds()[-1]["test"]["accuracy"] > whole.rounds()[0]["test"]["accuracy"] - 0.2

    class Stop(Exception):
        pass

    class StopAfterTwo:
        def started(self, *_):
            pass

        def note(self, _):
            pass

        def finished(self, _):
            pass

        def round_finished(self, row):
            if row["round"] == 2:
                raise Stop

    with pytest.raises(Stop):
        run(digits(f"strategy={strategy}"), tmp_path / "part", observer=StopAfterTwo())
    resumed = RunReader(resume(tmp_path / "part").directory)
    assert model_hash(resumed) == model_hash(whole)
    assert [row["round"] for row in resumed.rounds()] == [1, 2, 3, 4]


def test_stock_fedavg_and_ours_agree(tmp_path):
    ours = load_file(execute(tmp_path, name="ours").path / "model.safetensors")
    stock = execute(tmp_path, "strategy=flwr.serverapp.strategy:FedAvg", name="stock")
    theirs = load_file(stock.path / "model.safetensors")
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], atol=1e-5)
    assert stock.fingerprints["cohorts"] == execute(tmp_path, name="again").fingerprints["cohorts"]


def test_a_class_that_is_no_strategy_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not a Flower strategy"):
        execute(tmp_path, "strategy=collections:OrderedDict")


def test_a_rule_that_fails_is_one_message(tmp_path, monkeypatch):
    (tmp_path / "bad_rule.py").write_text(RULE.replace("chosen / chosen.sum()", "chosen / undefined"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="Largest failed in round 1: NameError"):
        execute(tmp_path, 'strategy="./bad_rule.py:Largest"')


def test_summary_is_strict_json(tmp_path):
    reader = execute(tmp_path, "rounds=1")

    def refuse(name):
        raise AssertionError(name)

    json.loads((reader.path / "summary.json").read_text(), parse_constant=refuse)


RAY_SCENARIO = (
    "strategy=feddisco",
    "systems={stragglers: {fraction: 0.5, policy: partial}, client_dropout: 0.2}",
)


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return execute(tmp_path_factory.mktemp("inprocess"), *RAY_SCENARIO)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_gives_the_same_bytes(tmp_path, expected, workers):
    options = ("runtime.backend=ray", f"runtime.workers={workers}", "runtime.num_cpus=0.5")
    found = execute(tmp_path, *RAY_SCENARIO, *options)
    assert model_hash(found) == model_hash(expected)
    without_time = [
        [{key: value for key, value in row.items() if key != "seconds"} for row in reader.rounds()]
        for reader in (found, expected)
    ]
    assert without_time[0] == without_time[1]


@pytest.mark.usefixtures("cluster")
def test_too_many_workers_leave_nothing_behind(tmp_path):
    with pytest.raises(UsageError, match="not enough CPUs"):
        run(digits("runtime={backend: ray, workers: 64}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
