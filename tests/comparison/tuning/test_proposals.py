"""The points that are tried."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fedbal.comparison.tuning.proposals import propose
from fedbal.comparison.tuning.space import search_space
from fedbal.comparison.tuning.trials import plan_trials
from fedbal.errors import UsageError
from tests.scenarios import digits

KNOBS = search_space(digits("strategy=fedprox"))


def test_the_first_point_is_the_method_as_declared():
    assert propose(KNOBS, 1, 0, "fedprox") == [{"strategy.mu": 1.0, "client.optimizer.lr": 0.1}]


def test_fewer_trials_are_the_first_of_more():
    assert propose(KNOBS, 5, 0, "fedprox") == propose(KNOBS, 17, 0, "fedprox")[:5]


def test_points_depend_on_seed_and_method():
    first = propose(KNOBS, 6, 0, "fedprox")
    assert first == propose(KNOBS, 6, 0, "fedprox")
    for other in (propose(KNOBS, 6, 1, "fedprox"), propose(KNOBS, 6, 0, "fedprox 2")):
        assert all(one != two for one, two in zip(first[1:], other[1:], strict=True))


def test_points_fill_the_space_evenly():
    # Sixteen points of a Sobol sequence: one in each sixteenth of every knob's space.
    points = propose(KNOBS, 17, 3, "fedprox")[1:]
    for knob in KNOBS:
        shares = np.sort([knob.space.share(point[knob.key]) for point in points]) * 16
        # Rounding to three digits may move a point a little over a border.
        assert (shares > np.arange(16) - 0.02).all()
        assert (shares < np.arange(16) + 1.02).all()


def test_without_scipy_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats.qmc", None)
    with pytest.raises(UsageError, match=r"fedbal\[report\]"):
        propose(KNOBS, 2, 0, "fedprox")


def test_another_method_changes_no_trial(tmp_path):
    alone = plan_trials({"fedprox": digits("strategy=fedprox")}, trials=3, out=tmp_path)
    both = {"fedadam": digits("strategy=fedadam"), "fedprox": digits("strategy=fedprox")}
    planned = plan_trials(both, trials=3, out=tmp_path)
    assert [one for one in planned if one.label == "fedprox"] == list(alone)
    assert [one.label for one in planned] == ["fedadam", "fedprox"] * 3


def test_trials_keep_the_data_and_take_seeds_of_their_own(tmp_path):
    given = digits("strategy=fedprox", "seed=7", "data.validation=0", "data.client_test=0.2", "rounds=9")
    declared, other = plan_trials({"fedprox": given}, trials=2, out=tmp_path, rounds_factor=0.5)
    seed = declared.scenario.seed
    assert (seed.partition, seed.init, seed.training) == (7, 10_007, 10_007)
    assert declared.scenario.rounds == declared.scenario.evaluation.every == 4
    assert declared.scenario.evaluation.clients == 0
    assert declared.scenario.data.validation == 0.1
    assert declared.overrides == ()
    assert other.scenario.client.update.mu == other.values["strategy.mu"] != 1.0
    assert declared.directory != other.directory


def test_an_address_does_not_depend_on_where_a_trial_runs(tmp_path):
    def addresses(*changes):
        return [one.directory for one in plan_trials({"a": digits(*changes)}, trials=2, out=tmp_path)]

    assert addresses() == addresses("name=other", "runtime.workers=3", "runtime.backend=ray")
    assert not set(addresses()) & set(addresses("runtime.vectorize=true"))
    assert not set(addresses()) & set(addresses("data.partition.alpha=0.5"))


@pytest.mark.parametrize(
    ("trials", "factor", "message"), [(0, 1.0, "tune is 0"), (2, 0.0, "rounds_factor is 0")]
)
def test_numbers_out_of_range_are_refused(tmp_path, trials, factor, message):
    with pytest.raises(UsageError, match=message):
        plan_trials({"fedavg": digits()}, trials=trials, out=tmp_path, rounds_factor=factor)
