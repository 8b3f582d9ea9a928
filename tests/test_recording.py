"""Recorded updates change nothing of a run, are the same by every exchange, and survive a resume."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedbal import cohort_round, fingerprints, recording, simulation
from fedbal.errors import RunError, UsageError
from fedbal.observer import Silent
from fedbal.protocol import ARRAYS, CONTROL_DELTA, LABEL_COUNTS, NORMALISED_STEPS, RECEIVED_LOSS
from fedbal.recorded import load_round, path_of, recorded_rounds
from fedbal.results import RunReader
from strategies.base import AggregationRule, needs_of
from strategies.mean import weighted_mean
from tests.scenarios import digits, sha256

RECORD = "runtime.record_updates=true"


def run(path: Path, *overrides: str) -> Path:
    simulation.run(digits("rounds=3", *overrides), path)
    return path


def files(directory: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted((directory / "updates").iterdir())}


def force(monkeypatch, kind):
    def choose(strategy, *_):
        if not isinstance(strategy, AggregationRule):
            return "messages"
        return "stacks" if kind == "sums" and needs_of(strategy) != "scalars" else kind

    monkeypatch.setattr(cohort_round, "choose_exchange", choose)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp("plain") / "run", "systems.client_dropout=0.2")


@pytest.mark.parametrize("kind", ["messages", "stacks", "sums"])
def test_the_run_is_the_same_and_so_is_the_record(kind, tmp_path, monkeypatch, plain):
    force(monkeypatch, kind)
    out = run(tmp_path / "run", "systems.client_dropout=0.2", RECORD)
    assert sha256(out / "model.safetensors") == sha256(plain / "model.safetensors")
    assert (out / "clients.jsonl").read_text().count("\n") == (plain / "clients.jsonl").read_text().count(
        "\n"
    )
    for given, recorded in zip(RunReader(plain).rounds(), RunReader(out).rounds(), strict=True):
        assert {**given, "seconds": 0} == {**recorded, "seconds": 0}
    assert recorded_rounds(out) == [1, 2, 3]
    one = load_round(out, 2)
    assert one.complete
    rows = {row["client"]: row for row in RunReader(out).clients() if row["round"] == 2}
    assert list(one.cohort.values()) == list(rows)
    assert {one.cohort[reply.node] for reply in one.replies} == {
        client for client, row in rows.items() if row["status"] == "ok"
    }
    for reply in one.replies:
        row = rows[one.cohort[reply.node]]
        assert reply.num_examples == row["num_examples"]
        assert one.weights[reply.node] == row["weight"]
        assert reply.metrics["train-loss"] > 0
    # The recorded models, weighted, are the model of the next round.
    weights = np.array([one.weights[reply.node] for reply in one.replies])
    mean = weighted_mean([reply.arrays for reply in one.replies], weights)
    following = load_round(out, 3).arrays
    assert all(np.array_equal(mean[name], following[name]) for name in following)
    assert fingerprints.of_arrays(following) == one.following


def test_every_exchange_leaves_the_same_files(tmp_path, monkeypatch):
    found = []
    for kind in ("messages", "stacks", "sums"):
        force(monkeypatch, kind)
        found.append(files(run(tmp_path / kind, RECORD, "strategy=feddisco", "rounds=2")))
    assert found[0] == found[1] == found[2]


def test_label_counts_are_known_as_the_clients_would_tell_them(tmp_path):
    changes = ("rounds=1", RECORD, "data.label_noise={rate: 0.3}")
    asked = load_round(run(tmp_path / "asked", "strategy=feddisco", *changes), 1)
    known = load_round(run(tmp_path / "known", "strategy=fedavg", *changes), 1)
    assert not asked.known.get(asked.replies[0].node)
    assert not known.replies[0].extras
    for reply in asked.replies:
        assert known.extras(reply.node)[LABEL_COUNTS] == reply.extras[LABEL_COUNTS]


def test_some_rounds_some_clients_and_extras(tmp_path):
    block = "{rounds: [1, 3], clients: 2, extras: [normalised-steps, received-loss]}"
    out = run(tmp_path / "run", f"runtime.record_updates={block}")
    plain = run(tmp_path / "plain")
    assert sha256(out / "model.safetensors") == sha256(plain / "model.safetensors")
    assert recorded_rounds(out) == [1, 3]
    drawn = []
    for number in (1, 3):
        one = load_round(out, number)
        assert len(one.replies) == 2
        assert not one.complete
        assert one.replied == 4
        drawn.append([reply.node for reply in one.replies])
        for reply in one.replies:
            assert set(reply.extras) == {NORMALISED_STEPS, RECEIVED_LOSS}
            assert reply.extras[RECEIVED_LOSS][0] > 0
    told = [row["bytes_up"] for row in RunReader(out).rounds()]
    usual = [row["bytes_up"] for row in RunReader(plain).rounds()]
    assert told[1] == usual[1]
    assert told[0] > usual[0]
    again = run(tmp_path / "again", f"runtime.record_updates={block}")
    assert files(out) == files(again)


def test_every_and_further_records_and_state(tmp_path):
    out = run(tmp_path / "run", "strategy=scaffold", "runtime.record_updates={every: 2}", "rounds=4")
    assert recorded_rounds(out) == [2, 4]
    one = load_round(out, 2)
    assert set(one.replies[0].records) == {CONTROL_DELTA}
    assert all(name.startswith("control/") for name in one.state)
    assert set(one.arrays) == {name.removeprefix("control/") for name in one.state}


def test_arrays_without_dimensions_integers_and_bytes(tmp_path):
    out = run(tmp_path / "run", RECORD, "rounds=1")
    one = load_round(out, 1)
    scalar = {"n": np.array(3, np.int64), "w": np.ones((2, 1), np.float32)}
    replies = [replace(reply, arrays=scalar, extras={"raw": b"\x00\xff"}) for reply in one.replies]
    recording.save_round(tmp_path, replace(one, arrays=scalar, replies=replies))
    back = load_round(tmp_path, 1)
    assert back.replies[0].arrays["n"].shape == ()
    assert back.replies[0].arrays["n"] == 3
    assert list(back.replies[0].arrays) == ["n", "w"]
    assert back.replies[0].extras == {"raw": b"\x00\xff"}


class Stopped(Exception):
    pass


class StopAfterThree(Silent):
    def round_finished(self, row):
        if row["round"] == 3:
            raise Stopped


def test_a_resumed_run_has_the_same_record(tmp_path, monkeypatch):
    changes = (RECORD, "rounds=4", "strategy=fedavgm")
    whole = run(tmp_path / "whole", *changes)
    # Without a checkpoint the run begins anew, and what was recorded does not count before it is written again.
    monkeypatch.setattr("fedbal.checkpoint.save", lambda *_: None)
    with pytest.raises(Stopped):
        simulation.run(digits(*changes), tmp_path / "part", observer=StopAfterThree())
    assert recorded_rounds(tmp_path / "part") == [1, 2, 3]
    monkeypatch.undo()
    seen = []

    class Look(Silent):
        def started(self, scenario, directory, first_round):
            seen.extend([first_round, recorded_rounds(directory)])

    simulation.resume(tmp_path / "part", observer=Look())
    assert seen == [1, []]
    assert files(tmp_path / "part") == files(whole)


def test_what_the_disk_cannot_hold_is_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(recording.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
    with pytest.raises(UsageError, match=r"record_updates writes about .* MB .* left; record fewer"):
        run(tmp_path / "run", RECORD)
    assert not (tmp_path / "run" / "scenario.yaml").exists()


def test_the_size_is_announced_and_close(tmp_path):
    notes = []

    class Notes(Silent):
        def note(self, message):
            notes.append(message)

    simulation.run(digits("rounds=3", RECORD, "client.batch_size=32"), tmp_path / "run", observer=Notes())
    (said,) = [note for note in notes if "recorded in updates" in note]
    assert "4 clients in 3 rounds" in said
    megabytes = float(said.rsplit(" ", 2)[1])
    written = sum(path.stat().st_size for path in (tmp_path / "run" / "updates").glob("*.safetensors")) / 1e6
    assert written == pytest.approx(megabytes, rel=0.3, abs=0.02)


def test_a_damaged_record_is_named(tmp_path):
    out = run(tmp_path / "run", RECORD, "rounds=1")
    path = path_of(out, 1)
    head = json.loads(path.read_text())
    assert set(head["records"]) == {ARRAYS}
    arrays = path.with_suffix(".safetensors")
    arrays.write_bytes(arrays.read_bytes()[:-9])
    with pytest.raises(RunError, match=r"round-000001.json is damaged"):
        load_round(out, 1)
    path.write_text(json.dumps({**head, "format": 99}))
    with pytest.raises(RunError, match="format 99"):
        load_round(out, 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{every: 0}", "integer >= 1"),
        ("{every: 2, rounds: [1]}", "only one of the two"),
        ("{rounds: [7]}", "at most rounds = 3"),
        ("{rounds: []}", "at least 1"),
        ("{extras: [score]}", "normalised-steps"),
        ("yes please", "record_updates"),
    ],
)
def test_wrong_choices_are_named(value, message):
    with pytest.raises(UsageError, match=message):
        digits("rounds=3", f"runtime.record_updates={value}")


def test_left_out_and_false_are_nothing():
    assert "record_updates" not in digits().resolved()["runtime"]
    assert "record_updates" not in digits("runtime.record_updates=false").resolved()["runtime"]
    assert digits(RECORD).resolved()["runtime"]["record_updates"] == {"every": 1, "extras": []}
