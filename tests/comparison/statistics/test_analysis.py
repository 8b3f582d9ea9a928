"""From values to verdicts."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from fedbal.comparison.records import Look
from fedbal.comparison.statistics.analysis import analyse
from fedbal.comparison.statistics.paired import decide, holm, paired
from fedbal.comparison.statistics.spending import record
from fedbal.seeding import stream

METHODS = ["fedavg", "good", "bad", "same", "noisy"]


def drawn(seeds=10, dataset=""):
    generator = stream(0, "test values", dataset)
    base = generator.normal(0.7, 0.02, seeds)
    shifts = {"fedavg": 0.0, "good": 0.04, "bad": -0.04, "same": 0.0, "noisy": 0.01}
    spreads = {"fedavg": 0.0, "good": 0.01, "bad": 0.01, "same": 0.001, "noisy": 0.03}
    return {
        dataset: {
            name: dict(enumerate((base + shift + generator.normal(0, spreads[name], seeds)).tolist()))
            for name, shift in shifts.items()
        }
    }


def by_method(analysis):
    return {one.method: one for one in analysis.contrasts}


def test_verdicts_of_planted_methods_and_their_numbers():
    values = drawn()
    found = analyse(values, methods=METHODS, baseline="fedavg")
    contrasts = by_method(found)
    verdicts = {name: one.verdict for name, one in contrasts.items()}
    assert verdicts == {"good": "better", "bad": "worse", "same": "equivalent", "noisy": "undecided"}
    assert (found.level, found.level_equivalence, found.seeds, found.family) == (0.05, 0.05, 10, 4)
    assert found.smallest_p == 4 * 2 / 1024
    good = contrasts["good"]
    a, b = (np.array(list(values[""][name].values())) for name in ("good", "fedavg"))
    assert (good.mean, good.baseline_mean) == pytest.approx((a.mean(), b.mean()))
    assert good.p == 2 / 1024
    assert good.p_adjusted == 4 * 2 / 1024
    assert good.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert good.rank_biserial == 1.0
    assert good.bootstrap is None
    assert good.differences == pytest.approx(dict(enumerate(a - b)))
    assert contrasts["noisy"].seeds_needed > 10
    assert good.seeds_needed is None
    json.dumps(asdict(found), allow_nan=False)


def test_less_is_better():
    found = by_method(analyse(drawn(), methods=METHODS, baseline="fedavg", higher=False))
    assert (found["good"].verdict, found["bad"].verdict) == ("worse", "better")
    assert found["good"].difference > 0.0


def test_analysis_is_what_simulations_use():
    generator = stream(0, "same code")
    values = generator.normal(0.7, 0.01, (20, 3, 8))
    found = paired(values[:, 1:], np.repeat(values[:, :1], 2, axis=1), 0.005)
    p, same = holm(found.p), holm(found.p_equivalence)
    verdicts = decide(found.difference, p, same, level=0.3, level_equivalence=0.3)
    for row, sides in enumerate(values):
        named = {name: dict(enumerate(side.tolist())) for name, side in zip("abc", sides, strict=True)}
        judged = analyse({"": named}, methods=["a", "b", "c"], baseline="a", alpha=0.3).contrasts
        assert [one.verdict for one in judged] == verdicts[row].tolist()
        assert [one.p_adjusted for one in judged] == pytest.approx(p[row].tolist())
        assert [one.p_equivalence_adjusted for one in judged] == pytest.approx(same[row].tolist())


def test_each_data_set_is_a_family_of_its_own():
    found = analyse({**drawn(dataset="a"), **drawn(dataset="b")}, methods=METHODS, baseline="fedavg")
    assert [(one.dataset, one.method) for one in found.contrasts] == [
        (dataset, method) for dataset in "ab" for method in METHODS[1:]
    ]
    assert {one.p_adjusted for one in found.contrasts if one.method == "good"} == {4 * 2 / 1024}
    assert len(found.across) == 10


def test_reference_rows_are_outside_the_family():
    methods = ["fedavg", "good", "same"]
    found = analyse(drawn(), methods=methods, baseline="fedavg", references=["bad", "noisy"])
    assert found.family == 2
    assert by_method(found)["good"].p_adjusted == 2 * 2 / 1024
    assert [one.method for one in found.references] == ["bad", "noisy"]
    assert found.references[0].p_adjusted == found.references[0].p == 2 / 1024
    assert found.references[0].verdict == "worse"


def test_missing_seeds_leave_pairs_out_and_say_so():
    values = drawn()
    del values[""]["good"][3], values[""]["good"][7]
    found = analyse(values, methods=METHODS, baseline="fedavg")
    good = by_method(found)["good"]
    assert (good.seeds, sorted(good.differences)) == (8, [0, 1, 2, 4, 5, 6, 8, 9])
    assert any("good against fedavg: 2 of 10 seeds lack" in note and "3, 7" in note for note in found.notes)


def test_a_method_without_a_pair_keeps_its_place_in_the_family():
    values = drawn()
    values[""]["noisy"] = {99: 0.5}
    found = analyse(values, methods=METHODS, baseline="fedavg")
    assert "noisy" not in by_method(found)
    assert by_method(found)["good"].p_adjusted == 4 * 2 / 1024
    assert any("noisy and fedavg have no seed in common" in note for note in found.notes)


def test_one_seed_decides_nothing():
    found = analyse(drawn(seeds=1), methods=METHODS, baseline="fedavg")
    good = by_method(found)["good"]
    assert (good.verdict, good.p, good.low, good.p_equivalence, good.d_z) == (
        "undecided",
        1.0,
        None,
        None,
        None,
    )
    assert good.seeds_needed is None
    assert "One pair has no spread" in good.notes[0]


def test_five_seeds_cannot_show_a_difference():
    found = analyse(drawn(seeds=5), methods=["fedavg", "good"], baseline="fedavg")
    assert by_method(found)["good"].verdict == "undecided"
    assert by_method(found)["good"].p == found.smallest_p == 0.0625
    assert by_method(found)["good"].seeds_needed == 6
    assert any("cannot go below .0625 and so cannot reach .05" in note for note in found.notes)


def test_the_same_results_on_every_seed():
    values = {"": {"a": {seed: 0.7 + 0.01 * seed for seed in range(8)}}}
    values[""]["b"] = dict(values[""]["a"])
    (same,) = analyse(values, methods=["a", "b"], baseline="a").contrasts
    assert same.verdict == "equivalent"
    assert (same.difference, same.low, same.high, same.p, same.p_t) == (0.0, 0.0, 0.0, 1.0, None)
    assert same.p_equivalence == 1 / 256
    assert "same on all 8 seeds" in same.notes[0]


def test_better_within_the_margin_is_said():
    values = {
        "": {"a": dict.fromkeys(range(10), 0.7), "b": {seed: 0.701 + 1e-5 * seed for seed in range(10)}}
    }
    (one,) = analyse(values, methods=["a", "b"], baseline="a").contrasts
    assert one.verdict == "better"
    assert one.notes == ("The difference is real, and smaller than the margin.",)


def test_a_bootstrap_interval_from_twenty_seeds_on():
    found = by_method(analyse(drawn(seeds=20), methods=METHODS, baseline="fedavg"))["good"]
    low, high = found.bootstrap
    assert low < found.difference < high
    assert (low, high) == pytest.approx((found.low, found.high), abs=0.002)
    again = by_method(analyse(drawn(seeds=20), methods=METHODS, baseline="fedavg"))["good"]
    assert again.bootstrap == found.bootstrap


def test_drawn_flips_are_said():
    found = analyse(drawn(seeds=22), methods=["fedavg", "good"], baseline="fedavg")
    assert found.contrasts[0].p == 1e-5
    assert any("draws 99,999 flips" in note for note in found.notes)


def test_an_early_look_has_less_to_spend():
    found = analyse(drawn(seeds=7), methods=["fedavg", "good"], baseline="fedavg", planned_seeds=14)
    assert found.contrasts[0].p == 2 / 128
    assert found.level < 2 / 128
    assert found.contrasts[0].verdict == "undecided"
    assert any("a look at 7 seeds of 14 planned" in note for note in found.notes)


def test_a_verdict_of_an_earlier_look_stands():
    early = analyse(drawn(), methods=METHODS, baseline="fedavg", planned_seeds=10)
    look = record(early, "2025-01-01T00:00:00Z")
    assert look.seeds == 10
    assert ("", "good", "better") in look.decided
    later = drawn()
    for seed in range(10, 14):
        for name in METHODS:
            later[""][name][seed] = 0.7 if name != "good" else 0.3
    found = analyse(later, methods=METHODS, baseline="fedavg", planned_seeds=10, looks=[look])
    good = by_method(found)["good"]
    assert (good.verdict, good.decided_at) == ("better", 10)
    assert "that stands" in good.notes[-1]
    assert found.level_equivalence == 0.0
    assert by_method(found)["noisy"].verdict == "undecided"
    assert any("after a look at 10" in note for note in found.notes)


def test_five_planned_seeds_leave_alpha_for_ten():
    looks = [Look(5, 0.05, "", 0.05)]
    found = analyse(drawn(), methods=METHODS, baseline="fedavg", planned_seeds=5, looks=looks)
    assert (found.level, found.level_equivalence) == (0.05, 0.0)
    assert by_method(found)["good"].verdict == "better"
    assert by_method(found)["same"].verdict == "undecided"


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_what_is_no_number_is_refused(value):
    values = drawn(dataset="digits")
    values["digits"]["good"][2] = value
    with pytest.raises(ValueError, match=f"seed 2 of good on digits is {value}"):
        analyse(values, methods=METHODS, baseline="fedavg")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "fedprox"}, "baseline 'fedprox' is none"),
        ({"methods": ["fedavg", "good", "good"]}, "twice"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"margin": -0.1}, "margin is -0.1"),
    ],
)
def test_arguments_that_do_not_fit(change, said):
    with pytest.raises(ValueError, match=said):
        analyse(drawn(), **{"methods": METHODS, "baseline": "fedavg", **change})


def test_nothing_to_compare():
    found = analyse(
        {"": {"fedavg": {0: 0.7}}}, methods=["fedavg"], baseline="fedavg", looks=[Look(1, 0.05, "")]
    )
    assert (found.contrasts, found.smallest_p) == ((), None)
