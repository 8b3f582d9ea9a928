"""Idle clients cost next to nothing: keys are not held, tables are written in pieces, counts in blocks."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc

import numpy as np
import pytest

from fedbal import driver
from fedbal.assembly import assemble
from fedbal.clients_table import client_table
from fedbal.data import federation as federations
from fedbal.data.dataset import Dataset
from fedbal.data.federation import Federation, Shards
from fedbal.data.partitions.base import numbered
from fedbal.population import Population
from fedbal.results import RunReader
from fedbal.simulation import run
from tests.scenarios import digits

CLIENTS = 50_000


def wide(clients=CLIENTS, names=None):
    """Give every client two of a thousand rows."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((1000, 4)).astype(np.float32)
    y = generator.integers(0, 3, 1000)
    dataset = Dataset("wide", x, y, x[:20], y[:20], ("a", "b", "c"))
    rows = np.sort(generator.integers(0, 1000, (clients, 2)), axis=1).ravel()
    none = Shards(rows[:0], np.zeros(clients + 1, np.int64))
    train = Shards(rows, np.arange(0, 2 * clients + 1, 2))
    return Federation(dataset, train, none, none, names or numbered(clients))


def test_numbers_as_keys_are_made_when_they_are_read():
    keys = numbered(12)
    assert (len(keys), keys[0], keys[-1], keys[9:11]) == (12, "0", "11", ("9", "10"))
    assert list(keys) == [str(client) for client in range(12)]
    assert "11" in keys
    assert not [key for key in ("12", "01", "-1", "x", 3) if key in keys]
    with pytest.raises(IndexError):
        keys[12]


def test_counting_in_blocks_counts_every_row_once(monkeypatch):
    monkeypatch.setattr(federations, "BLOCK", 7)
    federation = wide(25)
    expected = np.zeros((25, 3), np.int64)
    for client in range(25):
        for row in federation.train.of(client):
            expected[client, federation.dataset.y[row]] += 1
    np.testing.assert_array_equal(federation.label_counts(), expected)
    np.testing.assert_array_equal(federation.class_counts(), expected.sum(axis=0))


def test_the_table_of_clients_reads_back_whatever_their_names():
    names = ("plain", "two words", 'a "quote"', "a,comma", "a\nbreak", "ümlaut")
    federation = wide(6, names)
    speeds = np.array([1.0, 0.5, 1e-9, 123456.789, 1e20, 3.0])
    text = "".join(client_table(federation, federation.label_counts(), speeds))
    head, *rows = csv.reader(io.StringIO(text))
    assert head == [
        "client",
        "train",
        "validation",
        "client_test",
        "samples_per_second",
        "class_a",
        "class_b",
        "class_c",
    ]
    assert tuple(row[0] for row in rows) == names
    assert [float(row[4]) for row in rows] == pytest.approx(speeds, rel=1e-5)
    for row, counts in zip(rows, federation.label_counts().tolist(), strict=True):
        assert [int(cell) for cell in row[1:4]] == [2, 0, 0]
        assert [int(cell) for cell in row[5:]] == counts


@pytest.mark.usefixtures("_wide_data")
def test_an_idle_client_takes_less_than_two_hundred_bytes():
    scenario = digits("cohort={size: 4}", "data.partition={name: iid, clients: 8}")
    assembly = assemble(scenario, "cpu")
    del assembly
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assembly = assemble(scenario, "cpu")
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(assembly.population.nodes) == CLIENTS
    # The index arrays were made before: everything else counts.
    assert held / CLIENTS < 200


@pytest.fixture
def _wide_data(monkeypatch):
    federation = wide()
    monkeypatch.setattr("fedbal.assembly.load_federation", lambda block, seed: federation)


@pytest.mark.usefixtures("_wide_data")
def test_with_many_clients_the_description_lists_a_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "LISTED_CLIENTS", 100)
    changes = ("cohort={size: 4}", "rounds=2", "data.partition={name: iid, clients: 8}")
    out = run(digits(*changes), tmp_path / "run").directory
    stored = json.loads((out / "heterogeneity.json").read_text())
    assert stored["sampled"] == {"listed": 100, "of": CLIENTS}
    assert len(stored["clients"]) == len(stored["sizes"]) == len(stored["counts"]) == 100
    with (out / "clients.csv").open() as file:
        rows = {row["client"]: row for row in csv.DictReader(file)}
    assert len(rows) == CLIENTS
    for name, counts in zip(stored["clients"], stored["counts"], strict=True):
        assert [int(rows[name][f"class_{label}"]) for label in "abc"] == counts
    assert {row["client"] for row in RunReader(out).clients()} <= set(rows)


def test_who_evaluates_is_found_without_listing_everyone():
    testers = range(2, 2_000_002, 2)
    population = Population(testers, testers, int, str, np.zeros(0, np.int64))
    assert [node for node in (1, 2, 3, 4, 1_999_999, 2_000_000, 2_000_002) if population.tests(node)] == [
        2,
        4,
        2_000_000,
    ]


def test_many_evaluating_clients_are_pointed_out(tmp_path, monkeypatch):
    monkeypatch.setattr("fedbal.assembly.MANY_TESTERS", 5)
    changes = ("rounds=1", "data.client_test=0.2")
    notes = run(digits(*changes), tmp_path / "all").summary["notes"]
    assert any("clients evaluate in every evaluated round" in note for note in notes)
    notes = run(digits(*changes, "evaluation.clients=cohort"), tmp_path / "cohort").summary["notes"]
    assert not any("clients evaluate in every evaluated round" in note for note in notes)
