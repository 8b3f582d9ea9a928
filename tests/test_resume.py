"""A run that is killed at any instant and resumed has the bytes of one that was never disturbed."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from fedbal.errors import RunError, UsageError
from fedbal.protocol import to_record
from fedbal.records import from_bytes, to_bytes
from fedbal.results import RunDirectory, RunReader
from fedbal.simulation import resume, run
from tests.scenarios import digits, sha256

ROOT = Path(__file__).parents[1]

KILLED = """
import os, signal, sys
from pathlib import Path
from fedbal import checkpoint, results, simulation
from fedbal.observer import Silent
from tests.scenarios import digits

moment, out = sys.argv[1:3]
die = lambda: os.kill(os.getpid(), signal.SIGKILL)

class Observer(Silent):
    def round_finished(self, row):
        if moment == "after a round" and row["round"] == 3:
            die()
        if moment == "before the first checkpoint":
            die()

append = results.RunDirectory.append
def half_a_row(self, name, rows):
    if moment == "in the middle of a row" and name == "rounds.jsonl" and rows[0]["round"] == 3:
        with (self.path / name).open("ab") as handle:
            handle.write(b'{"round": 3, "test": {"accu')
        die()
    append(self, name, rows)
results.RunDirectory.append = half_a_row

flush = checkpoint._flush
def half_a_checkpoint(path):
    flush(path)
    if moment == "before a checkpoint is complete" and "round-000003" not in str(path):
        half_a_checkpoint.calls += 1
        if half_a_checkpoint.calls == 3:
            die()
half_a_checkpoint.calls = 0
checkpoint._flush = half_a_checkpoint

if moment == "before the first checkpoint":
    checkpoint.save = lambda *_: None
if moment == "before the summary":
    write = results.RunDirectory.write
    def no_summary(self, name, text):
        die() if name == "summary.json" else write(self, name, text)
    results.RunDirectory.write = no_summary
    from fedbal import journal
    journal.Journal._save_if_due = journal.Journal.save
if moment in ("after a round", "before a checkpoint is complete"):
    from fedbal import journal
    journal.Journal._save_if_due = journal.Journal.save
simulation.run(digits("strategy=feddisco", "rounds=5"), Path(out), observer=Observer())
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    run(digits("strategy=feddisco", "rounds=5"), path)
    return path


def python(*arguments):
    return subprocess.run(
        [sys.executable, "-c", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "moment",
    [
        "after a round",
        "before the first checkpoint",
        "in the middle of a row",
        "before a checkpoint is complete",
        "before the summary",
    ],
)
def test_kill_and_resume(tmp_path, undisturbed, moment):
    out = tmp_path / "run"
    killed = python(KILLED, moment, str(out))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert RunReader(out).status == "interrupted"
    RunReader(out).rounds()
    resume(out)
    reader = RunReader(out)
    assert reader.status == "finished"
    assert [row["round"] for row in reader.rounds()] == [1, 2, 3, 4, 5]
    assert len(reader.clients()) == 20
    assert sha256(out / "model.safetensors") == sha256(undisturbed / "model.safetensors")
    whole = RunReader(undisturbed)
    assert reader.fingerprints == whole.fingerprints
    assert reader.summary()["final"] == whole.summary()["final"]
    assert reader.summary()["bytes"] == whole.summary()["bytes"]
    assert [path.name for path in (out / "checkpoint").iterdir()] == ["round-000005"]


ENDLESS = """
import sys
from pathlib import Path
from fedbal import simulation
from fedbal.errors import FedbalError
from tests.scenarios import digits
try:
    simulation.run(digits("rounds=100000"), Path(sys.argv[1]))
except FedbalError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_a_resumable_run(tmp_path, number, code):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (out / "scenario.yaml").exists() or len(RunReader(out).rounds()) < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        assert RunReader(out).status == "running"
        with pytest.raises(UsageError, match="in use by another"):
            RunDirectory(out, resume=True)
        process.send_signal(number)
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, text
    assert f"fedbal run --resume {out}" in text
    reader = RunReader(out)
    assert reader.status == "interrupted"
    (checkpoint,) = (out / "checkpoint").iterdir()
    assert checkpoint.name == f"round-{reader.rounds()[-1]['round']:06d}"


def test_a_finished_run_is_left_alone(undisturbed):
    before = sha256(undisturbed / "rounds.jsonl")
    assert resume(undisturbed).status == "finished"
    assert sha256(undisturbed / "rounds.jsonl") == before


def test_resuming_what_is_no_run(tmp_path):
    with pytest.raises(UsageError, match="not a run directory"):
        resume(tmp_path)


def stopped(tmp_path):
    out = tmp_path / "run"
    assert python(KILLED, "after a round", str(out)).returncode == -signal.SIGKILL
    return out


def test_changed_data_are_refused(tmp_path):
    out = stopped(tmp_path)
    scenario = out / "scenario.yaml"
    scenario.write_text(scenario.read_text().replace("alpha: 0.3", "alpha: 0.9"))
    with pytest.raises(RunError, match="partition fingerprint"):
        resume(out)


def test_a_damaged_checkpoint_or_a_shortened_journal_is_named(tmp_path):
    out = stopped(tmp_path)
    rounds = out / "rounds.jsonl"
    content = rounds.read_bytes()
    rounds.write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"rounds.jsonl has .* bytes"):
        resume(out)
    rounds.write_bytes(content)
    (checkpoint,) = (out / "checkpoint").iterdir()
    model = checkpoint / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-7])
    with pytest.raises(RunError, match="is damaged"):
        resume(out)


COUNTING = '''
from flwr.app import ConfigRecord
from clients.standard import Standard

class Counting(Standard):
    """Trains longer the more often it was asked: the model depends on the client's state."""

    def before(self, local):
        seen = local.state["count"]["rounds"] if "count" in local.state else 0
        return {"scale": 1.0 + seen}

    def loss(self, forward, params, batch, frozen):
        return frozen["scale"] * super().loss(forward, params, batch, frozen)

    def after(self, local, trained):
        seen = local.state["count"]["rounds"] if "count" in local.state else 0
        local.state["count"] = ConfigRecord({"rounds": seen + 1})
        return {}
'''


def test_client_state_survives_a_resume(tmp_path, monkeypatch):
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.chdir(tmp_path)
    changes = ("client.update='./counting.py:Counting'", "rounds=5", "client.optimizer.lr=0.02")
    run(digits(*changes), tmp_path / "whole")
    run(digits("rounds=5", "client.optimizer.lr=0.02"), tmp_path / "stateless")

    class Stop(Exception):
        pass

    class StopAfterThree:
        def started(self, *_): ...
        def note(self, _): ...
        def finished(self, _): ...

        def round_finished(self, row):
            if row["round"] == 3:
                raise Stop

    with pytest.raises(Stop):
        run(digits(*changes), tmp_path / "part", observer=StopAfterThree())
    resume(tmp_path / "part")
    hashes = [sha256(tmp_path / name / "model.safetensors") for name in ("whole", "part", "stateless")]
    assert hashes[0] == hashes[1] != hashes[2]


def test_records_round_trip():
    arrays = to_record({"b": np.arange(3.0), "a": np.array(1, np.int64)})
    content = RecordDict(
        {
            "arrays": arrays,
            "numbers": MetricRecord({"x": 1, "y": [1.5, 2.5]}),
            "more": ConfigRecord({"text": "t", "raw": b"\\x00\\xff", "flag": True, "list": [b"a", b"b"]}),
        }
    )
    loaded = from_bytes(to_bytes(content))
    assert list(loaded["arrays"]) == ["b", "a"]
    assert loaded["arrays"]["a"].numpy().shape == ()
    assert loaded["numbers"] == content["numbers"]
    assert loaded["more"] == content["more"]
    assert len(from_bytes(to_bytes(RecordDict()))) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_message(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    (tmp_path / "run" / "rounds.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"no space left.*--resume") as caught:
        directory.append("rounds.jsonl", [{"round": 1}])
    assert caught.value.__cause__.errno == errno.ENOSPC
    directory.close()


def test_a_place_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        run(digits(), tmp_path / "file" / "below")


def test_a_signal_while_ray_workers_train_leaves_a_resumable_run(tmp_path):
    pytest.importorskip("ray")
    out = tmp_path / "run"
    code = ENDLESS.replace('"rounds=100000"', '"rounds=100000", "runtime={backend: ray, workers: 1}"')
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not (out / "scenario.yaml").exists() or len(RunReader(out).rounds()) < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert RunReader(out).status == "interrupted"
