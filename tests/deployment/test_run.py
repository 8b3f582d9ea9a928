"""A deployed run over sites in this process: the simulation's bytes, lost sites, repeated rounds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from flwr.app import Error, MessageType

from fedbal.deployment import coordinator
from fedbal.deployment.job import EventLog, Job, JobFolder
from fedbal.errors import RunError
from fedbal.interrupts import Interrupted, Signals, StopRequested
from fedbal.results import RunReader
from fedbal.scenario import one_by_one
from fedbal.simulation import run
from tests.deployment.nodes import Nodes, node, site
from tests.scenarios import digits, sha256

CLIENTS = 3
SMALL = ("data.partition.clients=3", "runtime.vectorize=false", "client.local_epochs=1", "rounds=3")


def deploy(
    tmp_path, scenario, sites, *, name="deployed", resuming=False, log=None, clients=CLIENTS, wait=2.0
):
    """Run a scenario as Flower's process would; returns the run directory."""
    folder = JobFolder(tmp_path / f"job-{name}")
    job = Job("run-1", str(tmp_path / name), clients, wait, resuming)
    folder.begin(job)
    (folder.path / "scenario.yaml").write_text(scenario.to_yaml())
    grid = sites if isinstance(sites, Nodes) else Nodes(sites)
    with Signals() as signals:
        coordinator._run(grid, folder, log or EventLog(folder.path), signals)
    return tmp_path / name


def sites_of(scenario, folder, count=CLIENTS):
    return {node(k): site(scenario, folder, f"site-{k}", k) for k in range(count)}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for module in ("fedbal.deployment.grid", "fedbal.deployment.sites"):
        monkeypatch.setattr(f"{module}.POLL_SECONDS", 0.01)
    monkeypatch.setattr("fedbal.deployment.grid.SLACK", 0.1)
    monkeypatch.setattr("fedbal.journal.CHECKPOINT_SHARE", 1e9)


RULES = ["fedavg", "scaffold", "moon", "fednova", "qfedavg", "feddyn"]


@pytest.mark.parametrize("rule", RULES)
def test_bytes_are_those_of_the_simulation(tmp_path, rule):
    scenario = digits(*SMALL, f"strategy={rule}", "cohort.fraction=0.67")
    simulated = run(scenario, tmp_path / "simulated").directory
    deployed = deploy(tmp_path, scenario, sites_of(scenario, tmp_path))
    assert sha256(deployed / "model.safetensors") == sha256(simulated / "model.safetensors")
    here, there = RunReader(deployed), RunReader(simulated)
    for key in ("partition", "initial", "cohorts", "batches"):
        assert here.fingerprints[key] == there.fingerprints[key]
    for one, other in zip(here.rounds(), there.rounds(), strict=True):
        for key in ("test", "fairness", "personal", "train", "bytes_up", "bytes_down", "replied"):
            assert one[key] == other[key], key


def test_evaluation_rides_with_training(tmp_path):
    scenario = digits(*SMALL, "cohort.fraction=0.67")
    grid = Nodes(sites_of(scenario, tmp_path))
    deploy(tmp_path, scenario, grid)
    kinds = [kind for _, kind, _ in grid.asked]
    assert kinds.count(MessageType.TRAIN) == 3 * 2
    # The client outside each cohort, and everybody once the last round is over.
    assert kinds.count(MessageType.EVALUATE) == 3 + CLIENTS


def test_messages_have_the_scenarios_deadline(tmp_path):
    scenario = digits(*SMALL, "deployment={round_timeout: 2m}")
    grid = Nodes(sites_of(scenario, tmp_path))
    deploy(tmp_path, scenario, grid)
    assert {ttl for _, kind, ttl in grid.asked if kind == MessageType.TRAIN} == {120.0}


def failing(answer, *, at, how, kind=MessageType.TRAIN):
    """Answer as usual, but in round ``at`` with ``how``."""

    def answers(asked, group, content):
        if asked == kind and group == str(at):
            return how(asked, group, content) if callable(how) else how
        return answer(asked, group, content)

    return answers


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        (Error(5, "node unavailable"), "missing", "the site went away"),
        (Error(3, "expired"), "missing", "no answer in time"),
        (Error(2, "ValueError: boom"), "dropped", "boom"),
        (None, "missing", "no answer within 0.5 s"),
    ],
)
def test_a_site_that_fails_is_named_and_the_run_goes_on(tmp_path, how, status, reason):
    scenario = digits(*SMALL, "cohort.fraction=1.0", "deployment.round_timeout=0.5")
    sites = sites_of(scenario, tmp_path)
    sites[node(1)] = failing(sites[node(1)], at=2, how=how)
    reader = RunReader(deploy(tmp_path, scenario, sites))
    rows = {(row["round"], row["client"]): row for row in reader.clients()}
    assert rows[2, "1"]["status"] == status
    assert reason in rows[2, "1"]["reason"]
    assert [rows[number, "1"]["status"] for number in (1, 3)] == ["ok", "ok"]
    assert reader.rounds()[1]["replied"] == 2
    assert reader.summary()["status"] == "finished"


def test_a_site_that_is_not_connected_is_named(tmp_path):
    scenario = digits(*SMALL, "cohort.fraction=1.0")
    reader = RunReader(deploy(tmp_path, scenario, sites_of(scenario, tmp_path, 2), clients=2))
    missing = [row for row in reader.clients() if row["client"] == "2"]
    assert {row["status"] for row in missing} == {"missing"}
    assert "not connected" in missing[0]["reason"]


def test_a_lost_site_that_comes_back_does_its_work_again(tmp_path):
    scenario = digits(*SMALL, "strategy=scaffold", "cohort.fraction=1.0")
    simulated = run(scenario, tmp_path / "simulated").directory
    patient = digits(*SMALL, "strategy=scaffold", "cohort.fraction=1.0", "deployment.reconnect=30s")
    sites = sites_of(patient, tmp_path)
    grid, usual = Nodes(sites), sites[node(1)]
    lost = []

    def dies(kind, group, content):
        if kind == MessageType.TRAIN and group == "2" and not lost:
            lost.append(usual(kind, group, content))
            return Error(5, "node unavailable")
        return usual(kind, group, content)

    grid.sites[node(1)] = dies
    deployed = deploy(tmp_path, patient, grid)
    assert lost
    assert sha256(deployed / "model.safetensors") == sha256(simulated / "model.safetensors")


class Stops(EventLog):
    """Stops the run after a round, as SIGTERM does."""

    def __init__(self, folder, after):
        super().__init__(folder)
        self.after = after

    def round_finished(self, row):
        super().round_finished(row)
        if row["round"] == self.after:
            raise StopRequested(15)


@pytest.mark.parametrize("rule", ["scaffold", "moon"])
def test_a_run_that_goes_on_has_the_same_bytes(tmp_path, rule, monkeypatch):
    monkeypatch.setattr("fedbal.journal.CHECKPOINT_SHARE", 1e-9)
    scenario = digits(*SMALL, f"strategy={rule}", "rounds=4", "cohort.fraction=0.67")
    simulated = run(scenario, tmp_path / "simulated").directory
    sites = sites_of(scenario, tmp_path)
    (tmp_path / "job-deployed").mkdir()
    with pytest.raises(Interrupted):
        deploy(tmp_path, scenario, sites, log=Stops(tmp_path / "job-deployed", 3))
    # The newest checkpoint is lost as well: rounds 1 to 3 are repeated, on sites that have already done them.
    for checkpoint in (tmp_path / "deployed" / "checkpoint").glob("round-*"):
        for path in checkpoint.iterdir():
            path.unlink()
        checkpoint.rmdir()
    deployed = deploy(tmp_path, scenario, sites_of(scenario, tmp_path), resuming=True)
    assert sha256(deployed / "model.safetensors") == sha256(simulated / "model.safetensors")


def test_too_few_sites_end_the_run_in_time(tmp_path):
    scenario = digits(*SMALL)
    with pytest.raises(RunError, match=r"2 of 3 sites connected within 0.2 s"):
        deploy(tmp_path, scenario, sites_of(scenario, tmp_path, 2), wait=0.2)


def test_a_smallest_cohort_is_waited_for_and_then_given_up(tmp_path):
    scenario = digits(*SMALL, "cohort.fraction=1.0", "deployment={min_clients: 3, wait: 0.2}")
    sites = sites_of(scenario, tmp_path)
    grid, usual = Nodes(sites), sites[node(2)]

    def leaves(kind, group, content):
        answer = usual(kind, group, content)
        if kind == MessageType.TRAIN:
            del grid.sites[node(2)]
        return answer

    grid.sites[node(2)] = leaves
    with pytest.raises(RunError, match="2 of 3 needed clients"):
        deploy(tmp_path, scenario, grid)
    assert len(RunReader(tmp_path / "deployed").rounds()) == 1


def test_two_sites_that_want_the_same_partition_are_named(tmp_path):
    scenario = digits(*SMALL)
    sites = {node(k): site(scenario, tmp_path, f"site-{k}", 0) for k in range(CLIENTS)}
    with pytest.raises(RunError, match="ask for the same partition 0"):
        deploy(tmp_path, scenario, sites)


def test_sites_without_a_wish_get_partitions_by_name(tmp_path):
    scenario = digits(*SMALL)
    sites = {node(9 - k): site(scenario, tmp_path, f"site-{k}") for k in range(CLIENTS)}
    deployed = deploy(tmp_path, scenario, sites)
    table = json.loads((deployed / "sites.json").read_text())
    assert [table[f"site-{k}"]["seat"]["partition"] for k in range(CLIENTS)] == [0, 1, 2]


def test_a_second_site_of_the_same_name_is_left_out(tmp_path):
    scenario = digits(*SMALL, "cohort.fraction=1.0")
    sites = sites_of(scenario, tmp_path)
    sites[node(7)] = site(scenario, tmp_path / "copy", "site-0", 0)
    log = Notes(tmp_path)
    deployed = deploy(tmp_path, scenario, sites, log=log)
    assert RunReader(deployed).summary()["status"] == "finished"
    assert any("two sites are called site-0" in note for note in log.notes)


class Notes(EventLog):
    """Keeps what is said."""

    def __init__(self, folder):
        super().__init__(folder)
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def test_a_site_may_change_its_node(tmp_path):
    scenario = digits(*SMALL, "strategy=scaffold", "cohort.fraction=1.0")
    simulated = run(scenario, tmp_path / "simulated").directory
    sites = sites_of(scenario, tmp_path)
    grid, usual = Nodes(sites), sites[node(1)]

    def moves(kind, group, content):
        answer = usual(kind, group, content)
        if kind == MessageType.TRAIN and group == "1":
            del grid.sites[node(1)]
            grid.sites[node(55)] = site(scenario, tmp_path, "site-1", 1)
        return answer

    grid.sites[node(1)] = moves
    changed = replace_limits(scenario, min_clients=3, wait=5.0)
    deployed = deploy(tmp_path, changed, grid)
    assert sha256(deployed / "model.safetensors") == sha256(simulated / "model.safetensors")


def replace_limits(scenario, **values):
    from fedbal.scenario_blocks import DeploymentBlock

    return scenario.model_copy(update={"deployment": DeploymentBlock(**values)})


def test_the_identity_of_a_run_does_not_depend_on_its_deadlines():
    from fedbal.deployment.bundle import identity

    scenario = one_by_one(digits(*SMALL))
    assert identity(scenario) == identity(replace_limits(scenario, min_clients=3))
    assert identity(scenario) != identity(one_by_one(digits(*SMALL, "seed=1")))
    assert replace(Job("k", "o", 1, 1.0), resuming=True).resuming
