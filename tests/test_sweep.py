"""Many runs on shared processes: the bytes of single runs, failures apart, nothing lost when something dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fedbal
from fedbal.errors import UsageError
from fedbal.observer import Silent
from fedbal.results import RunReader
from fedbal.simulation import run
from fedbal.sweep import FailedRun
from fedbal.sweep_worker import FEDERATIONS, Federations
from tests.scenarios import digits, sha256

ROOT = Path(__file__).parents[1]
TIMED = ("seconds",)


def untimed(rows):
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


def same_bytes(left, right):
    left, right = RunReader(left), RunReader(right)
    for name in (
        "model.safetensors",
        "scenario.yaml",
        "clients.csv",
        "heterogeneity.json",
        "fingerprints.json",
    ):
        assert sha256(left.path / name) == sha256(right.path / name), name
    assert untimed(left.rounds()) == untimed(right.rounds())
    assert untimed(left.clients()) == untimed(right.clients())


class Recorder(Silent):
    def __init__(self):
        self.rows, self.notes, self.summary, self.first = [], [], None, None

    def started(self, scenario, directory, first_round):
        self.first = first_round

    def round_finished(self, row):
        self.rows.append(row)

    def finished(self, summary):
        self.summary = summary

    def note(self, message):
        self.notes.append(message)


def test_every_run_has_the_bytes_of_a_single_one(tmp_path):
    scenarios = [
        digits(f"strategy={rule}", f"seed={seed}") for rule in ("fedavg", "feddisco") for seed in (0, 1)
    ]
    watching = [Recorder() for _ in scenarios]
    results = fedbal.run_many(scenarios, tmp_path / "many", workers=2, observer=watching.__getitem__)
    assert [result.directory.name for result in results] == [
        "0-fedavg",
        "1-fedavg",
        "2-feddisco",
        "3-feddisco",
    ]
    for index in (0, 3):
        single = run(scenarios[index], tmp_path / f"single{index}")
        same_bytes(results[index].directory, single.directory)
    for result, recorder in zip(results, watching, strict=True):
        assert result.status == "finished"
        assert recorder.first == 1
        assert untimed(recorder.rows) == untimed(RunReader(result.directory).rounds())
        assert recorder.summary == result.summary


def test_a_run_that_fails_is_a_row_and_what_is_there_is_not_done_again(tmp_path):
    missing = digits("data={dataset: table, path: missing.npz, label: y, partition: {name: iid, clients: 2}}")
    good = digits("rounds=2")
    taken = tmp_path / "taken"
    run(digits("rounds=1", "seed=5"), taken)
    done = run(digits("rounds=2", "seed=6"), tmp_path / "done").directory
    before = (done / "summary.json").stat().st_mtime_ns
    scenarios = [missing, good, digits("rounds=2"), digits("rounds=2", "seed=6")]
    found = fedbal.run_many(scenarios, [tmp_path / "a", tmp_path / "b", taken, done], workers=1)
    assert [result.status for result in found] == ["failed", "finished", "failed", "finished"]
    assert isinstance(found[0], FailedRun)
    assert "missing.npz" in found[0].reason
    assert "another scenario" in found[2].reason
    assert (done / "summary.json").stat().st_mtime_ns == before


def test_what_does_not_fit_is_said_before_anything_starts(tmp_path):
    with pytest.raises(UsageError, match="2 scenarios and 1 directories"):
        fedbal.run_many([digits(), digits()], [tmp_path / "a"])
    with pytest.raises(UsageError, match="same directory"):
        fedbal.run_many([digits(), digits()], [tmp_path / "a", tmp_path / "x" / ".." / "a"])
    with pytest.raises(UsageError, match="workers is 0"):
        fedbal.run_many([digits()], tmp_path, workers=0)
    assert fedbal.run_many([], tmp_path) == []


SLOW = """
import time
from strategies.fedavg import FedAvg

class Slow(FedAvg):
    def combine(self, *arguments, **options):
        time.sleep(0.15)
        return super().combine(*arguments, **options)
"""


def slow_rule(folder):
    """Write a rule whose rounds last long enough to be disturbed, and return the change that chooses it."""
    (folder / "slow.py").write_text(SLOW)
    return f"strategy={folder / 'slow.py'}:Slow"


def test_the_run_of_a_killed_process_goes_on_in_another(tmp_path):
    scenario = digits("rounds=20", slow_rule(tmp_path))

    class Killing(Recorder):
        """Kills the process that does its run, found by the command that it was started with."""

        def round_finished(self, row):
            super().round_finished(row)
            if row["round"] == 5 and not self.notes:
                for child in _children():
                    os.kill(child, signal.SIGKILL)

    recorder = Killing()
    (result,) = fedbal.run_many([scenario], tmp_path / "many", observer=lambda index: recorder)
    assert result.status == "finished"
    assert recorder.notes == ["its process died (exit code -9); the run goes on in another one"]
    same_bytes(result.directory, run(scenario, tmp_path / "single").directory)


def _children():
    """Return the processes of sweeps that this process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            status = (entry / "status").read_text()
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if f"PPid:\t{os.getpid()}\n" in status and "fedbal.sweep_worker" in command:
            found.append(int(entry.name))
    return found


STOPPED = """
import sys
from pathlib import Path
import fedbal
from fedbal.errors import FedbalError
from tests.scenarios import digits
scenarios = [digits(*sys.argv[2:], f"seed={seed}") for seed in range(3)]
try:
    fedbal.run_many(scenarios, Path(sys.argv[1]), workers=2)
except FedbalError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def test_ctrl_c_leaves_every_run_resumable(tmp_path):
    out = tmp_path / "many"
    changes = ("rounds=30", slow_rule(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(out), *changes], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        first, second = out / "0-Slow", out / "1-Slow"
        deadline = time.monotonic() + 90
        while not all(
            (path / "scenario.yaml").exists() and RunReader(path).rounds() for path in (first, second)
        ):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "of 3 runs done" in text
    assert "Traceback" not in text
    # At the latest each process has stopped by now: no lock is held.
    assert [RunReader(path).status for path in (first, second)] == ["interrupted"] * 2
    scenarios = [digits(*changes, f"seed={seed}") for seed in range(3)]
    results = fedbal.run_many(scenarios, out, workers=2)
    assert [result.status for result in results] == ["finished"] * 3
    same_bytes(results[0].directory, run(scenarios[0], tmp_path / "single").directory)


def test_data_are_divided_once_and_only_the_latest_are_kept():
    made = []

    def load(block, seed):
        made.append(seed)
        return object()

    federations = Federations(load)
    first = digits("seed=0")
    kept = federations.of(first)
    assert federations.of(digits("seed=0", "strategy=feddisco")) is kept
    assert federations.of(digits("seed={partition: 0, init: 1, training: 2}")) is kept
    for seed in range(1, FEDERATIONS + 1):
        federations.of(digits(f"seed={seed}"))
    assert federations.of(first) is not kept
    assert made == [*range(FEDERATIONS + 1), 0]
