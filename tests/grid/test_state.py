"""Client state past the memory limit, in checkpoints that share what has not changed, and gone at the end."""

from __future__ import annotations

import os

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from fedbal.grid import segments as segment_module
from fedbal.grid.segments import INDEX, Segments
from fedbal.grid.state import ClientStates, SavedStates
from fedbal.protocol import to_arrays, to_record
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from tests.scenarios import digits, sha256


def state(value, numbers=100):
    arrays = to_record({"w": np.full(numbers, value, np.float64)})
    return RecordDict({"kept": arrays, "count": ConfigRecord({"value": value})})


def values(states, nodes):
    found = {}
    for node in nodes:
        kept = states.get(node)
        if len(kept):
            assert set(to_arrays(kept["kept"])["w"]) == {kept["count"]["value"]}
            found[node] = kept["count"]["value"]
    return found


def fill(states, nodes, value):
    for node in nodes:
        states.put(node, state(value + node))
    states.commit()


def expected(nodes, value):
    return {node: value + node for node in nodes}


def test_past_the_limit_states_are_on_disk_and_all_are_there(tmp_path):
    states = ClientStates(limit=5_000)
    states.keep_in(tmp_path / "states")
    fill(states, range(50), 100)
    assert list((tmp_path / "states").glob("*.bin"))
    assert len(states._memory) < 10
    assert values(states, range(60)) == expected(range(50), 100)
    fill(states, range(10, 20), 500)
    assert values(states, range(50)) == {**expected(range(50), 100), **expected(range(10, 20), 500)}
    states.put(3, state(9))
    assert states.get(3)["count"]["value"] == 9
    states.rollback()
    assert states.get(3)["count"]["value"] == 103
    assert len(states.present(range(45, 90))) == 5
    states.close()
    assert not (tmp_path / "states").exists()
    assert values(states, range(50)) == {}


def test_clients_without_state_leave_nothing():
    states = ClientStates()
    for node in range(100):
        states.put(node, RecordDict())
    states.commit()
    assert not states._memory
    assert not states._sizes


def test_without_a_folder_of_its_own_a_temporary_one_goes_again():
    states = ClientStates(limit=5_000)
    fill(states, range(50), 1)
    folder = states._disk._folder
    assert folder.is_dir()
    states.close()
    assert not folder.exists()


@pytest.mark.parametrize("linked", [True, False])
def test_a_checkpoint_writes_what_has_changed_and_links_the_rest(tmp_path, monkeypatch, linked):
    if not linked:

        def refuse(*_):
            raise OSError("no links here")

        monkeypatch.setattr(os, "link", refuse)
    states = ClientStates(limit=20_000)
    states.keep_in(tmp_path / "states")
    fill(states, range(50), 0)
    saved = [tmp_path / f"round{number}" for number in range(3)]
    for number, directory in enumerate(saved):
        directory.mkdir()
        fill(states, [number], 1000)
        states.save(directory)
    first, second = ({path.name for path in directory.glob("*.bin")} for directory in saved[:2])
    assert first < second
    (new,) = second - first
    assert (saved[1] / new).stat().st_size < min((saved[1] / name).stat().st_size for name in first) * 2
    if linked:
        assert all((saved[1] / name).stat().st_ino == (saved[0] / name).stat().st_ino for name in first)
    states.close()
    for number, directory in enumerate(saved):
        again = ClientStates()
        again.keep_in(tmp_path / "again")
        again.restore(SavedStates(directory))
        # Reading on and writing on leave the checkpoint as it is.
        before = {path.name: sha256(path) for path in directory.iterdir()}
        assert values(again, range(50)) == {**expected(range(50), 0), **expected(range(number + 1), 1000)}
        fill(again, range(50), 7000)
        target = tmp_path / f"next{number}"
        target.mkdir()
        again.save(target)
        assert {path.name: sha256(path) for path in directory.iterdir()} == before
        again.close()


def test_files_are_merged_when_there_are_many_or_mostly_outdated(tmp_path):
    store = Segments(tmp_path)
    for number in range(3 * segment_module.MOST_FILES):
        store.write([(number, bytes([number]) * 10)])
        assert len(list(tmp_path.glob("*.bin"))) <= segment_module.MOST_FILES + 1
    assert all(store.read(number) == bytes([number]) * 10 for number in range(3 * segment_module.MOST_FILES))
    for _ in range(4):
        store.write([(number, b"x" * 10) for number in range(3 * segment_module.MOST_FILES)])
    held = sum(path.stat().st_size for path in tmp_path.glob("*.bin"))
    assert held <= 2 * 10 * 3 * segment_module.MOST_FILES


def test_no_state_makes_no_files_in_a_checkpoint(tmp_path):
    states = ClientStates()
    states.save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    states.restore(SavedStates(tmp_path))
    assert len(states.get(2)) == 0


def test_a_run_on_disk_has_the_bytes_of_one_in_memory_and_resumes(tmp_path, monkeypatch):
    scenario = digits("strategy=scaffold", "rounds=5")
    whole = run(scenario, tmp_path / "whole").directory
    limited = ClientStates.__init__
    monkeypatch.setattr(ClientStates, "__init__", lambda self: limited(self, 1))

    class Stop(Exception):
        pass

    class StopAfterThree:
        def started(self, *_):
            pass

        def note(self, message):
            pass

        def round_finished(self, row):
            if row["round"] == 3:
                raise Stop

    with pytest.raises(Stop):
        run(scenario, tmp_path / "part", observer=StopAfterThree())
    (saved,) = (tmp_path / "part" / "checkpoint").iterdir()
    assert (saved / INDEX).is_file()
    resume(tmp_path / "part")
    assert sha256(tmp_path / "part" / "model.safetensors") == sha256(whole / "model.safetensors")
    assert [row["test"] for row in RunReader(tmp_path / "part").rounds()] == [
        row["test"] for row in RunReader(whole).rounds()
    ]
    assert not (tmp_path / "part" / ".states").exists()
