"""Runs on a Ray cluster: the bytes of single runs, from a shared disk or not, also when a process dies."""

from __future__ import annotations

import pytest

ray = pytest.importorskip("ray")

from fedbal.comparison.cluster import run_on_cluster  # noqa: E402
from fedbal.comparison.shipping import pack, unpack  # noqa: E402
from fedbal.observer import Silent  # noqa: E402
from fedbal.results import RunReader  # noqa: E402
from fedbal.simulation import run  # noqa: E402
from tests.scenarios import digits, sha256  # noqa: E402

DIES = """
import os, signal
from pathlib import Path
from strategies.fedavg import FedAvg

class Dies(FedAvg):
    def server_step(self, current, combined):
        marker = Path(__file__).with_name("died")
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().server_step(current, combined)
"""


class Heard(Silent):
    def __init__(self):
        self.rounds, self.notes, self.summary = [], [], None

    def round_finished(self, row):
        self.rounds.append(row["round"])

    def finished(self, summary):
        self.summary = summary

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def local():
    if ray.is_initialized():
        ray.shutdown()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_whole_runs_on_a_cluster_leave_the_bytes_of_single_ones(tmp_path, local):
    (tmp_path / "dies.py").write_text(DIES)
    missing = digits("data={dataset: table, path: no.npz, label: y, partition: {name: iid, clients: 2}}")
    scenarios = [
        digits("rounds=2", f"strategy={tmp_path / 'dies.py'}:Dies"),
        missing,
        digits("rounds=2", "seed=1"),
    ]
    expected = run(digits("rounds=2", "seed=1"), tmp_path / "single").directory
    for shared in (True, False):
        out = tmp_path / str(shared)
        heard, results, refused = [Heard() for _ in scenarios], {}, []

        def admit(index, refused=refused, shared=shared):
            # On the second cluster the run that dies once is not begun.
            if index == 0 and not shared:
                refused.append(index)
            return shared or index != 0

        run_on_cluster(
            scenarios,
            [out / str(index) for index in range(3)],
            address="auto",
            workers=2 if shared else 1,
            observer=heard.__getitem__,
            admit=admit,
            ended=results.__setitem__,
            shared=shared,
        )
        assert sha256(out / "2" / "model.safetensors") == sha256(expected / "model.safetensors")
        here, there = RunReader(expected).fingerprints, RunReader(out / "2").fingerprints
        assert all(
            there[key] == here[key] for key in ("partition", "initial", "cohorts", "batches", "engine")
        )
        assert heard[2].rounds == [1, 2]
        assert heard[2].summary == results[2].summary
        assert results[1].status == "failed"
        assert "no.npz" in results[1].reason
        assert not list(out.glob(".seen-*"))
        if shared:
            assert results[0].status == "finished"
            assert heard[0].notes == ["its Ray process died; the run goes on in another one"]
        else:
            assert refused
            assert 0 not in results


def test_a_directory_travels_as_it_is(tmp_path):
    source = tmp_path / "run"
    (source / "checkpoint").mkdir(parents=True)
    (source / "rounds.jsonl").write_bytes(b'{"round": 1}\n')
    (source / "checkpoint" / "state").write_bytes(bytes(range(256)))
    (source / ".lock").touch()
    unpack(pack(source), tmp_path / "there")
    assert sorted(path.name for path in (tmp_path / "there").rglob("*") if path.is_file()) == [
        "rounds.jsonl",
        "state",
    ]
    assert (tmp_path / "there" / "checkpoint" / "state").read_bytes() == bytes(range(256))
