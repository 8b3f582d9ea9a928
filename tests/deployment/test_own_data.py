"""Sites with data of their own: what their coordinator learns of them, and what is refused at the join."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from fedbal.deployment.own_data import OwnData
from fedbal.errors import RunError, UsageError
from fedbal.results import RunReader
from fedbal.scenario import from_mapping
from tests.deployment.nodes import Nodes, node, site
from tests.deployment.test_run import deploy, quick  # noqa: F401

CLASSES = ("benign", "malignant", "unsure")


def scenario(*overrides, **data):
    return from_mapping(
        {
            "name": "clinics",
            "rounds": 2,
            "data": {
                "dataset": "table",
                "path": "absent.csv",
                "label": "finding",
                "client_test": 0.2,
                **data,
            },
            "model": {"name": "mlp", "hidden": [4]},
            "strategy": "fedavg",
            "client": {"batch_size": 8},
            "evaluation": {"min_client_samples": 2},
            "runtime": {"vectorize": False, "backend": "inprocess"},
        },
        overrides=list(overrides),
    )


def table(folder, name, rows, classes=CLASSES, columns=("age", "size")):
    """Write a site's table and return its path."""
    rng = np.random.default_rng(len(name) + rows)
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow([*columns, "finding"])
        for row in range(rows):
            label = classes[row % len(classes)]
            shift = CLASSES.index(label) if label in CLASSES else 0
            writer.writerow([*(f"{rng.normal(shift):.4f}" for _ in columns), label])
    return path


def sites_of(plan, folder, tables):
    return {node(k): site(plan, folder, name, data=path) for k, (name, path) in enumerate(tables.items())}


def clinics(folder, **changed):
    tables = {"north": table(folder, "north", 60), "south": table(folder, "south", 45)}
    tables["west"] = changed.get("west") or table(folder, "west", 30, CLASSES[:2])
    return tables


def test_sites_train_on_their_own_rows(tmp_path):
    plan = scenario("strategy=feddisco")
    deployed = deploy(tmp_path, plan, sites_of(plan, tmp_path, clinics(tmp_path)))
    reader = RunReader(deployed)
    assert reader.summary()["status"] == "finished"
    rows = {row["client"]: row for row in reader.clients() if row["round"] == 1}
    assert set(rows) == {"north", "south", "west"}
    assert all(row["status"] == "ok" and row["received_accuracy"] is not None for row in rows.values())
    # 0.1 of the rows validate, 0.2 are reported on.
    assert [rows[name]["num_examples"] for name in ("north", "south", "west")] == [42, 32, 21]
    last = reader.rounds()[-1]
    assert last["test"] is None
    assert last["fairness"]["final"]["clients"] == 3
    lines = list(csv.DictReader((deployed / "clients.csv").open()))
    assert [line["class_unsure"] for line in lines][2] == "0"
    known = json.loads((deployed / "sites.json").read_text())
    assert tuple(known["west"]["seat"]["classes"]) == CLASSES


def test_test_rows_of_the_coordinator_are_used(tmp_path):
    test = table(tmp_path, "central", 90)
    plan = scenario(f"data.path={test}", "data.test=0.5")
    deployed = deploy(tmp_path, plan, sites_of(plan, tmp_path, clinics(tmp_path)))
    assert RunReader(deployed).rounds()[-1]["test"]["samples"] == 45


def test_a_site_without_a_class_of_the_run_keeps_its_labels_in_order(tmp_path):
    plan = scenario()
    tables = clinics(tmp_path, west=table(tmp_path, "west", 30, ("malignant", "unsure")))
    deployed = deploy(tmp_path, plan, sites_of(plan, tmp_path, tables))
    (west,) = [line for line in csv.DictReader((deployed / "clients.csv").open()) if line["client"] == "west"]
    assert int(west["class_benign"]) == 0
    assert int(west["class_malignant"]) + int(west["class_unsure"]) == int(west["train"])


@pytest.mark.parametrize(
    ("west", "data", "said"),
    [
        (("benign", "odd"), {"classes": list(CLASSES)}, "odd"),
        (("benign", "odd"), {}, None),
    ],
)
def test_a_class_that_the_run_does_not_have_is_refused_before_round_one(tmp_path, west, data, said):
    plan = scenario(**data)
    tables = clinics(tmp_path, west=table(tmp_path, "west", 30, west))
    if said is None:
        # Without a list of classes a run has those of all sites.
        deployed = deploy(tmp_path, plan, sites_of(plan, tmp_path, tables))
        known = json.loads((deployed / "sites.json").read_text())
        assert known["north"]["seat"]["classes"] == ["benign", "malignant", "odd", "unsure"]
        return
    with pytest.raises(RunError, match=said):
        deploy(tmp_path, plan, sites_of(plan, tmp_path, tables), wait=0.5)
    assert not (tmp_path / "deployed" / "rounds.jsonl").exists()


def test_other_columns_are_refused_by_name(tmp_path):
    plan = scenario()
    tables = clinics(tmp_path, west=table(tmp_path, "west", 30, columns=("age", "weight")))
    with pytest.raises(RunError, match=r"west has the columns \(age, weight\)"):
        deploy(tmp_path, plan, sites_of(plan, tmp_path, tables))


def test_a_site_reads_no_file_that_its_owner_did_not_name(tmp_path):
    plan = scenario(f"data.path={table(tmp_path, 'secret', 60)}", "data.partition={name: iid, clients: 2}")
    unasked = {node(k): site(plan, tmp_path, f"site-{k}") for k in range(2)}
    with pytest.raises(RunError, match=r"site-0.*--data"):
        deploy(tmp_path, plan, unasked, clients=2)
    # A partition on its own command line says that it may.
    agreed = {node(k): site(plan, tmp_path, f"site-{k}", k) for k in range(2)}
    done = deploy(tmp_path, plan, agreed, clients=2, name="agreed")
    assert RunReader(done).summary()["status"] == "finished"


def test_a_missing_file_is_told_to_the_coordinator(tmp_path):
    plan = scenario()
    tables = {**clinics(tmp_path), "west": tmp_path / "nothing.csv"}
    with pytest.raises(RunError, match=r"west cannot take part: .*nothing\.csv"):
        deploy(tmp_path, plan, sites_of(plan, tmp_path, tables), wait=0.5)


def test_data_that_every_site_has_cannot_be_ones_own(tmp_path):
    plan = from_mapping(
        {"name": "x", "rounds": 1, "data": "digits", "model": "logistic", "strategy": "fedavg"}
    )
    tables = {"north": tmp_path}
    with pytest.raises(RunError, match="every site has"):
        deploy(tmp_path, plan, sites_of(plan, tmp_path, tables), wait=0.5, clients=1)


def test_some_with_data_and_some_without_are_refused(tmp_path):
    plan = scenario()
    sites = sites_of(plan, tmp_path, clinics(tmp_path))
    sites[node(0)] = site(plan, tmp_path, "plays", 0)
    with pytest.raises(RunError, match="give --data to all sites or to none"):
        deploy(tmp_path, plan, sites)


def test_a_run_on_own_data_goes_on(tmp_path):
    plan, tables = scenario("rounds=3"), clinics(tmp_path)
    whole = deploy(tmp_path, plan, sites_of(plan, tmp_path, tables), name="whole")
    deploy(tmp_path, plan, sites_of(plan, tmp_path, tables), name="parts")
    for checkpoint in (tmp_path / "parts" / "checkpoint").glob("round-*"):
        for path in checkpoint.iterdir():
            path.unlink()
        checkpoint.rmdir()
    (tmp_path / "parts" / "summary.json").unlink()
    again = deploy(tmp_path, plan, Nodes(sites_of(plan, tmp_path, tables)), name="parts", resuming=True)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_rows_that_a_simulation_would_change_are_refused(tmp_path):
    own = OwnData(scenario(long_tail={"imbalance_factor": 2}), table(tmp_path, "north", 9))
    with pytest.raises(UsageError, match=r"data\.long_tail.* for simulations"):
        own.described()
