"""Trackers hear what observers hear, go on with a resumed run, and never end one."""

from __future__ import annotations

import json
import sys

import pytest

from fedbal import simulation, sweep
from fedbal.errors import UsageError
from fedbal.interrupts import Interrupted
from fedbal.observer import Silent
from fedbal.results import TRACK, RunReader
from fedbal.track.base import scalars_of, tracked
from tests.scenarios import digits, sha256

OWN = """
import json
from pathlib import Path
from fedbal.track.base import Tracker

class Lines(Tracker):
    def __init__(self, path, breaks=""):
        self.path, self.breaks = Path(path), breaks

    def tell(self, what, **more):
        with self.path.open("a") as handle:
            handle.write(json.dumps({"what": what, **more}) + "\\n")
        if what == self.breaks:
            raise OSError("no space left on device.")

    def begin(self, run):
        self.tell("begin", first=run.first_round, place=run.place, rule=run.params["strategy.name"])
        return run.place or "here"

    def log(self, step, scalars):
        self.tell("log", step=step, score=scalars["test.balanced_accuracy"])

    def end(self, status, scalars):
        self.tell("end", status=status, score=scalars.get("final.balanced_accuracy"))

class Nothing:
    pass
"""


class Stopped(Exception):
    pass


class Notes(Silent):
    def __init__(self, stop=None):
        self.notes = []
        self.stop = stop

    def note(self, message):
        self.notes.append(message)

    def round_finished(self, row):
        if row["round"] == self.stop:
            raise Stopped


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)

    def scenario(*overrides, **arguments):
        block = json.dumps({"name": "./mine.py:Lines", "path": str(tmp_path / "told"), **arguments})
        return digits("rounds=3", f"track={block}", *overrides)

    return scenario


def told(tmp_path):
    return [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]


def test_a_tracker_hears_everything_and_changes_nothing(own, tmp_path):
    simulation.run(digits("rounds=3"), tmp_path / "plain")
    result = simulation.run(own(), tmp_path / "run")
    assert sha256(tmp_path / "run" / "model.safetensors") == sha256(tmp_path / "plain" / "model.safetensors")
    scores = [row["test"]["balanced_accuracy"] for row in RunReader(tmp_path / "run").rounds()]
    begin, *logs, end = told(tmp_path)
    assert begin == {"what": "begin", "first": 1, "place": None, "rule": "fedavg"}
    assert [(one["step"], one["score"]) for one in logs] == list(enumerate(scores, 1))
    assert end == {"what": "end", "status": "finished", "score": scores[-1]}
    assert result.summary["notes"] == []
    assert "track" not in RunReader(tmp_path / "plain").scenario


def test_a_resumed_run_goes_on_where_it_was(own, tmp_path):
    with pytest.raises(Stopped):
        simulation.run(own("rounds=4"), tmp_path / "run", observer=Notes(stop=2))
    simulation.resume(tmp_path / "run")
    whats = [one["what"] for one in told(tmp_path)]
    assert whats[0] == "begin"
    cut = whats.index("end")
    assert told(tmp_path)[cut]["status"] == "failed"
    again = told(tmp_path)[cut + 1]
    assert again["place"] == "here"
    assert again["first"] == told(tmp_path)[cut + 2]["step"]
    assert told(tmp_path)[-1]["status"] == "finished"


def test_a_run_that_was_stopped_is_interrupted(own, tmp_path):
    scenario = own()
    watching = tracked(scenario, Silent())
    watching.__enter__().started(scenario, tmp_path, 1)
    watching.__exit__(Interrupted, Interrupted("SIGINT after round 1 of 3", 2), None)
    assert told(tmp_path)[-1] == {"what": "end", "status": "interrupted", "score": None}


@pytest.mark.parametrize("moment", ["begin", "log", "end"])
def test_a_broken_tracker_is_one_note(own, tmp_path, moment):
    observer = Notes()
    result = simulation.run(own(breaks=moment), tmp_path / "run", observer=observer)
    assert result.status == "finished"
    (note,) = observer.notes
    assert note.startswith("track: ")
    assert "(no space left on device); the run goes on without it" in note
    assert sum(one["what"] == "log" for one in told(tmp_path)) == {"begin": 0, "log": 1, "end": 3}[moment]


def test_a_class_that_is_no_tracker_is_a_note(own, tmp_path):
    observer = Notes()
    (tmp_path / "run").mkdir()
    simulation.run(digits("rounds=1", "track=./mine.py:Nothing"), tmp_path / "run", observer=observer)
    assert "is no fedbal.track.base.Tracker" in observer.notes[0]


def test_what_is_not_installed_is_a_note(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    observer = Notes()
    result = simulation.run(digits("rounds=1", "track=mlflow"), tmp_path / "run", observer=observer)
    assert result.status == "finished"
    assert observer.notes == [
        "track: mlflow failed (mlflow is not installed: pip install 'fedbal[track]'); the run goes on without it"
    ]


def test_a_sweep_tracks_in_its_processes_and_a_changed_tracker_is_the_same_run(own, tmp_path):
    results = sweep.run_many([own("seed=1")], tmp_path / "runs", workers=1)
    assert results[0].status == "finished"
    assert [one["what"] for one in told(tmp_path)] == ["begin", "log", "log", "log", "end"]
    again = sweep.run_many([digits("rounds=3", "seed=1")], tmp_path / "runs", workers=1)
    assert again[0].status == "finished"
    assert len(told(tmp_path)) == 5


def test_choices(tmp_path):
    assert digits("track=tensorboard").resolved()["track"] == {"name": "tensorboard"}
    assert "track" not in digits().resolved()
    with pytest.raises(UsageError, match="did you mean tensorboard"):
        digits("track=tensorbord")
    with pytest.raises(UsageError, match="logdir"):
        digits("track={name: tensorboard, logdir: x}")


def test_numbers_are_nested_by_dots():
    row = {
        "round": 3,
        "test": {"accuracy": 0.5, "groups": {"rule": "counts"}, "per_class_recall": [1.0, None], "few": None},
        "sampled": 4,
        "flag": True,
    }
    assert scalars_of(row) == {"test.accuracy": 0.5, "test.per_class_recall.0": 1.0, "sampled": 4.0}
    assert scalars_of({"per_class_recall": [0.0] * 21}) == {}


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scenario = digits("rounds=4", f"track={{name: tensorboard, dir: {tmp_path / 'boards'}}}")
    with pytest.raises(Stopped):
        simulation.run(scenario, tmp_path / "run", observer=Notes(stop=2))
    simulation.resume(tmp_path / "run")
    (place,) = json.loads((tmp_path / "run" / TRACK).read_text()).values()
    assert place == str(tmp_path / "boards" / "run")
    events = EventAccumulator(place)
    events.Reload()
    rows = RunReader(tmp_path / "run").rounds()
    points = events.Scalars("test.balanced_accuracy")
    assert [point.step for point in points] == [1, 2, 3, 4]
    assert [point.value for point in points] == pytest.approx(
        [row["test"]["balanced_accuracy"] for row in rows]
    )
    assert "test.per_class_recall.0" in events.Tags()["scalars"]
    assert b"fedavg" in events.Tensors("scenario/text_summary")[0].tensor_proto.string_val[0]
    assert [event.tensor_proto.string_val[0] for event in events.Tensors("status/text_summary")][
        -1
    ] == b"finished"
    # Another run of the same name has a folder of its own.
    simulation.run(scenario, tmp_path / "more" / "run")
    assert json.loads((tmp_path / "more" / "run" / TRACK).read_text())["tensorboard"].endswith("run-2")


def test_mlflow(tmp_path):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    folder = tmp_path / "mlruns"
    scenario = digits("rounds=4", f"track={{name: mlflow, uri: {folder}, experiment: small}}")
    with pytest.raises(Stopped):
        simulation.run(scenario, tmp_path / "run", observer=Notes(stop=2))
    client = MlflowClient(folder.as_uri())
    experiment = client.get_experiment_by_name("small")
    (first,) = client.search_runs([experiment.experiment_id])
    assert first.info.status == "FAILED"
    observer = Notes()
    simulation.resume(tmp_path / "run", observer=observer)
    assert observer.notes == []
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_id == first.info.run_id
    assert found.info.status == "FINISHED"
    assert found.data.params["strategy.name"] == "fedavg"
    assert found.data.params["data.partition.alpha"] == "0.3"
    assert found.data.tags["fedbal.directory"] == str(tmp_path / "run")
    assert found.data.tags["fedbal.status"] == "finished"
    rows = RunReader(tmp_path / "run").rounds()
    history = client.get_metric_history(found.info.run_id, "test.balanced_accuracy")
    assert sorted((one.step, one.value) for one in history) == [
        (row["round"], row["test"]["balanced_accuracy"]) for row in rows
    ]
    assert found.data.metrics["summary.final.accuracy"] == rows[-1]["test"]["accuracy"]
