"""Which engine a scenario gets, what is said about it, and that a run's bytes depend on nothing else."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from fedbal import engine as engines
from fedbal.assembly import assemble
from fedbal.costs import best
from fedbal.observer import Silent
from fedbal.results import RunReader
from fedbal.scenario import load
from fedbal.simulation import Interrupted, resume, run
from tests.scenarios import digits, sha256

MANY = ("data.partition.clients=20", "cohort.fraction=1.0", "rounds=2")


class StopAfterTwo(Silent):
    def round_finished(self, row):
        if row["round"] == 2:
            signal.raise_signal(signal.SIGTERM)


def chosen(*overrides):
    assembly = assemble(digits(*overrides), "cpu")
    return assembly.clients.engine, assembly.notes


@pytest.mark.parametrize(
    ("device", "layers", "parameters", "cohort", "expected"),
    [
        ("cpu", "dense", 4_810, 100, 50),
        ("cpu", "dense", 4_810, 20, 10),
        ("cpu", "dense", 4_810, 10, None),
        ("cpu", "dense", 610, 10, None),
        ("cpu", "dense", 610, 100, 50),
        ("cpu", "dense", 160_000, 100, None),
        ("cpu", "dense", 5_000_000, 100, None),
        ("cpu", "convolutional", 44_426, 100, None),
        ("cuda", "convolutional", 44_426, 100, 50),
        ("cuda", "other", 44_426, 100, None),
    ],
)
def test_costs(device, layers, parameters, cohort, expected):
    assert best(device, layers, parameters, cohort) == expected


def test_a_card_takes_fewer_clients_of_large_batches():
    def chunk(batch, device="cuda"):
        return best(device, "dense", 4_810, 200, batch=batch)

    assert [chunk(64), chunk(256), chunk(4_096), chunk(8_192)] == [64, 32, 2, None]
    assert chunk(8_192, "cpu") == chunk(1, "cpu")


def test_the_table_decides_and_the_scenario_overrides():
    assert chosen()[0].kind == "loop"
    assert chosen(*MANY)[0] == engines.Engine("vectorized", 10)
    assert chosen(*MANY, "runtime.vectorize=false")[0].kind == "loop"
    assert chosen(*MANY, "runtime.chunk=3")[0] == engines.Engine("vectorized", 3)
    assert chosen("runtime.vectorize=true")[0] == engines.Engine("vectorized", 2)


def test_every_rule_of_a_comparison_has_the_same_engine():
    rules = ("fedavg", "fedprox", "feddisco", "scaffold", "feddyn")
    assert len({chosen(*MANY, f"strategy={rule}")[0] for rule in rules}) == 1


def test_a_loops_blocks_follow_the_cohort():
    clients = ("data.partition={name: iid, clients: 70}", "cohort.fraction=1.0", "runtime.vectorize=false")
    assert chosen(*clients)[0] == engines.Engine("loop", 2)


def test_what_cannot_be_trained_at_once_is_said_once(tmp_path):
    result = run(digits(*MANY, "strategy=fedbr", "runtime.vectorize=true"), tmp_path / "run")
    notes = [note for note in result.summary["notes"] if "one by one" in note]
    assert len(notes) == 1
    assert "FedBR" in notes[0]
    assert RunReader(tmp_path / "run").fingerprints["engine"]["kind"] == "loop"


def test_a_users_loss_that_vmap_refuses_goes_one_by_one(tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch.nn.functional as F\n"
        "class Loss:\n"
        "    def __call__(self, logits, batch):\n"
        "        loss = F.cross_entropy(logits, batch.y)\n"
        "        return loss if loss.item() > 0 else 2 * loss\n"
    )
    engine, notes = chosen(*MANY, f"client.loss={tmp_path / 'own.py'}:Loss")
    assert engine.kind == "loop"
    assert len(notes) == 1
    assert "item" in notes[0]


def test_a_chunk_that_fails_while_it_trains_leaves_one_note(tmp_path, monkeypatch):
    def broken(*_):
        raise ArithmeticError("no kernel for this")

    monkeypatch.setattr("clients.cohort._together", broken)
    result = run(digits(*MANY), tmp_path / "run")
    notes = [note for note in result.summary["notes"] if "one by one" in note]
    assert len(notes) == 1
    assert notes[0].endswith("failed: no kernel for this")
    monkeypatch.undo()
    run(digits(*MANY, "runtime.vectorize=false"), tmp_path / "loop")
    assert sha256(tmp_path / "run" / "model.safetensors") == sha256(tmp_path / "loop" / "model.safetensors")


def test_without_a_compiler_clients_are_trained_at_once_and_it_is_said(monkeypatch):
    monkeypatch.setattr(engines, "compiler", lambda: None)
    engine, notes = chosen(*MANY, "runtime.compile=true")
    assert engine.kind == "vectorized"
    assert len(notes) == 1
    assert "C++ compiler" in notes[0]
    monkeypatch.setattr(engines, "compiler", lambda: "g++")
    assert chosen(*MANY, "runtime.compile=true") == (engines.Engine("compiled", 10), ())


def test_compilation_without_training_at_once_is_told(monkeypatch):
    engine, notes = chosen(*MANY, "runtime.compile=true", "runtime.vectorize=false")
    assert engine.kind == "loop"
    assert "runtime.vectorize" in notes[0]


def test_a_hint_where_compiling_would_pay(monkeypatch):
    monkeypatch.setattr(engines, "compiler", lambda: "g++")
    assert any("runtime.compile" in note for note in chosen(*MANY, "rounds=250000", "runtime.workers=1")[1])
    assert not chosen(*MANY, "rounds=250000")[1]
    assert chosen(*MANY)[1] == ()


def test_the_engine_is_written_down_and_repeats(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    run(digits(*MANY), first)
    record = load(first / "scenario.yaml")
    assert (record.runtime.vectorize, record.runtime.chunk) == (True, 10)
    told = json.loads((first / "fingerprints.json").read_text())["engine"]
    assert (told["kind"], told["chunk"]) == ("vectorized", 10)
    run(record, second)
    assert sha256(first / "model.safetensors") == sha256(second / "model.safetensors")


@pytest.mark.parametrize("rule", ["feddisco", "scaffold"])
def test_backends_and_workers_do_not_change_the_bytes(tmp_path, rule):
    pytest.importorskip("ray")
    hashes = set()
    places = (["backend=inprocess"], ["backend=ray", "workers=1"], ["backend=ray", "workers=2"])
    for number, place in enumerate(places):
        out = tmp_path / str(number)
        keys = [f"runtime.{one}" for one in place]
        run(digits(*MANY, "runtime.chunk=4", f"strategy={rule}", *keys), out)
        hashes.add(sha256(out / "model.safetensors"))
    assert len(hashes) == 1


def test_resuming_gives_the_same_bytes(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    scenario = digits(*MANY, "rounds=4", "strategy=scaffold")
    run(scenario, whole)
    with pytest.raises(Interrupted):
        run(scenario, parts, observer=StopAfterTwo())
    resume(parts)
    assert sha256(whole / "model.safetensors") == sha256(parts / "model.safetensors")


def test_one_by_one_and_at_once_learn_the_same(tmp_path):
    def accuracy(name, *overrides):
        return run(digits(*MANY, "rounds=3", *overrides), tmp_path / name).summary["final"]["accuracy"]

    assert accuracy("loop", "runtime.vectorize=false") == pytest.approx(accuracy("at-once"), abs=0.01)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler")
def test_a_compiled_run_learns_the_same(tmp_path):
    eager = run(digits(*MANY), tmp_path / "eager").summary["final"]["loss"]
    compiled = run(digits(*MANY, "runtime.compile=true"), tmp_path / "compiled").summary["final"]["loss"]
    assert compiled == pytest.approx(eager, rel=1e-4)
