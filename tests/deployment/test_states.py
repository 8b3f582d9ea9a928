"""A client's state on disk: versions, repeated rounds, what is kept."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import RecordDict

from fedbal.deployment.states import SiteStates, forget_old
from fedbal.protocol import to_arrays, to_record


def state(value):
    return RecordDict({"control": to_record({"c": np.full(3, float(value), np.float32)})})


def value(found):
    return float(to_arrays(found.array_records["control"])["c"][0]) if len(found) else None


def test_a_repeated_round_starts_from_the_state_before_it(tmp_path):
    states = SiteStates(tmp_path, "run-1")
    states.put(1, 0, 0, state(1))
    states.put(3, 1, 0, state(3))
    assert value(states.at(1)) == 1
    assert value(states.at(2)) == 1
    assert value(states.at(3)) == 3
    assert value(states.at(0)) is None


def test_what_did_not_count_is_forgotten(tmp_path):
    states = SiteStates(tmp_path, "run-1")
    for number in (1, 2, 3):
        states.put(number, number - 1, 0, state(number))
    # The answer of round 3 was lost, that of 2 too: the next training begins from 1.
    states.put(5, 1, 0, state(5))
    assert states.rounds() == [1, 5]


def test_a_version_that_nobody_asks_for_again_goes(tmp_path):
    states = SiteStates(tmp_path, "run-1")
    for number in range(1, 7):
        states.put(number, number - 1, max(0, number - 3), state(number))
    # The coordinator's checkpoint is of round 3: it may come back and ask for the state after it.
    assert states.rounds() == [3, 4, 5, 6]


def test_runs_do_not_share_states(tmp_path):
    SiteStates(tmp_path, "one").put(4, 0, 0, state(4))
    assert value(SiteStates(tmp_path, "two").at(9)) is None


def test_a_client_without_state_leaves_no_file(tmp_path):
    SiteStates(tmp_path, "run").put(1, 0, 0, RecordDict())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_is_not_read(tmp_path):
    states = SiteStates(tmp_path, "run")
    states.put(1, 0, 0, state(1))
    (tmp_path / "run" / ".round-000002.state.tmp").write_bytes(b"half")
    assert value(states.at(5)) == 1


@pytest.mark.parametrize("key", ["", "../other", "a/b", "a" * 81])
def test_a_key_is_no_path(tmp_path, key):
    with pytest.raises(ValueError, match="key of a run"):
        SiteStates(tmp_path, key)


def test_old_runs_are_removed(tmp_path):
    SiteStates(tmp_path, "old").put(1, 0, 0, state(1))
    forget_old(tmp_path, days=1.0)
    assert (tmp_path / "old").is_dir()
    forget_old(tmp_path, days=-1.0)
    assert not (tmp_path / "old").exists()
