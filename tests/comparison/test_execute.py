"""Running a plan: time limits at whole seeds, failures that stop nobody, nothing run twice, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedbal.comparison import compare as comparing
from fedbal.comparison.base import open_base
from fedbal.comparison.declaration import declare
from fedbal.comparison.execute import Admission, execute
from fedbal.comparison.store import is_done
from fedbal.comparison.watch import Bars, Lines
from fedbal.errors import RunError, UsageError
from fedbal.results import RunReader
from fedbal.sweep import FailedRun
from tests.comparison.quick import in_this_process
from tests.scenarios import DIGITS

ROOT = Path(__file__).parents[2]


class Clock:
    """Tells the seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def prepared(out, *changes, **flags):
    flags = {"references": False, "seeds": "0-1", **flags}
    return comparing.prepare(declare(open_base(DIGITS, changes), flags), out)


def test_a_time_limit_ends_at_a_whole_seed():
    clock = Clock()
    admit = Admission([0, 0, 1, 1, 2, 2], 10.0, clock)
    # The first seed may begin whatever the limit, and a seed that was begun is ended.
    assert admit(0)
    clock.now = 4.0
    admit.ended()
    assert admit(1)
    clock.now = 8.0
    # One of two runs of seed 0 is left, two of seed 1 would follow: 3 x 8 s more is too much.
    assert not admit(2)
    assert admit(1)
    assert admit.left == (1, 2)
    clock = Clock()
    quick = Admission([0, 0, 1, 1, 2, 2], 10.0, clock)
    assert quick(0)
    assert quick(1)
    clock.now = 2.0
    quick.ended()
    quick.ended()
    assert quick(2)
    assert quick(3)
    # 2 s for 2 runs so far: the 2 of seed 1 and the 2 of seed 2 take 4 s more.
    assert quick(4)
    assert quick.left == ()
    unlimited = Admission([0, 1], None)
    assert all(unlimited(index) for index in (1, 0))


BAD = """
from strategies.fedavg import FedAvg

class Bad(FedAvg):
    def combine(self, *arguments, **options):
        raise RuntimeError("the rule is broken")
"""


def test_a_failed_run_is_a_row_that_says_why_and_is_tried_again(tmp_path, monkeypatch):
    in_this_process(monkeypatch)
    (tmp_path / "bad.py").write_text(BAD)
    plan = prepared(
        tmp_path / "out", "rounds=1", strategies=["fedavg", f"{tmp_path / 'bad.py'}:Bad"], seeds="0"
    )
    lines = []

    class Heard(Lines):
        def say(self, text):
            lines.append(text)

    comparing.run(plan, watch=Heard())
    good, bad = plan.cells
    assert is_done(good)
    assert not is_done(bad)
    (reason,) = plan.store.failures().values()
    assert "the rule is broken" in reason
    assert any(line.startswith("failed: Bad, seed 0: ") for line in lines)
    before = (good.directory / "summary.json").stat().st_mtime_ns
    (tmp_path / "bad.py").write_text(BAD.replace("raise RuntimeError", "str"))
    # The rule's file has changed, so its run is another one; the good one is taken as it is.
    again = prepared(
        tmp_path / "out", "rounds=1", strategies=["fedavg", f"{tmp_path / 'bad.py'}:Bad"], seeds="0"
    )
    assert again.cells[1].address != bad.address
    assert again.outlook.done == 1
    comparing.run(again)
    assert (good.directory / "summary.json").stat().st_mtime_ns == before


def test_nothing_that_ended_is_an_error_of_the_runs(tmp_path):
    (tmp_path / "bad.py").write_text(BAD)
    rule = f"{tmp_path / 'bad.py'}:Bad"
    plan = prepared(
        tmp_path / "out", "rounds=1", f"strategy={rule}", strategies=[rule, {"label": "b", "set": {}}]
    )
    plan.store.keep(plan.plan)
    with pytest.raises(RunError, match="no run has ended yet"):
        comparing.judge(plan.store.path)
    plan.store.write_failures({cell.address: "the rule is broken" for cell in plan.cells})
    with pytest.raises(RunError, match="every run failed: the rule is broken"):
        comparing.judge(plan.store.path)


def test_a_directory_serves_one_comparison_at_a_time(tmp_path):
    plan = prepared(tmp_path / "out", "rounds=1", strategies=["fedavg", "fedprox"])
    with plan.store.locked(), pytest.raises(UsageError, match="another comparison is running in"):
        comparing.run(plan)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        prepared(tmp_path / "file", strategies=["fedavg", "fedprox"])


def test_nothing_left_starts_no_process(tmp_path, monkeypatch):
    plan = prepared(tmp_path / "out", "rounds=1", strategies=["fedavg", "fedprox"])
    for cell in plan.cells:
        cell.directory.mkdir(parents=True)
        (cell.directory / "summary.json").write_text("{}")
    monkeypatch.setattr("fedbal.comparison.execute.run_many", None)
    assert execute(plan.cells, plan.store) == ()


def test_bars_and_lines_follow_all_runs(tmp_path, capsys):
    plan = prepared(tmp_path / "out", strategies=["fedavg", "fedprox"], seeds="0")
    for watch in (Lines(), Bars()):
        with watch.over(plan.cells, done=3):
            first, second = plan.cells
            observer = watch.of(first)
            observer.started(first.scenario, first.directory, 1)
            observer.round_finished(
                {"round": 1, "test": {"accuracy": 0.5, "balanced_accuracy": 0.4, "loss": 1.0}}
            )
            observer.note("look out")
            watch.of(second).note("look out")
            watch.run_ended(first, FailedRun(first.directory, "it broke"))
            watch.run_ended(second, FailedRun(second.directory, "it broke too"))
            assert watch.done == 5
    shown = capsys.readouterr()
    assert shown.err.count("note: fedavg: look out") == 1
    assert "failed: fedprox, seed 0: it broke too" in shown.err


SLOW = """
import time
from strategies.fedavg import FedAvg

class Slow(FedAvg):
    def combine(self, *arguments, **options):
        time.sleep(0.1)
        return super().combine(*arguments, **options)
"""


def test_ctrl_c_leaves_a_comparison_that_goes_on(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "small.yaml").write_text(json.dumps({**DIGITS, "rounds": 10}))
    out = tmp_path / "out"
    arguments = [
        "compare",
        str(tmp_path / "small.yaml"),
        "--strategies",
        f"{tmp_path / 'slow.py'}:Slow",
    ]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fedbal",
            *arguments,
            "--seeds",
            "0",
            "--workers",
            "1",
            "--no-references",
            "--out",
            str(out),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        deadline = time.monotonic() + 90
        while not any((run / "rounds.jsonl").exists() and _rounds(run) > 1 for run in out.glob("runs/*")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"go on with: fedbal compare --resume {out}" in text
    assert "Traceback" not in text
    again = comparing.prepare_again(out)
    in_this_process(monkeypatch)
    comparing.run(again)
    assert all(is_done(cell) for cell in again.cells)
    assert all(_rounds(cell.directory) == 10 for cell in again.cells)


def _rounds(path):
    return len(RunReader(path).rounds())
