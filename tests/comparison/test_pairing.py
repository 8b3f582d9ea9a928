"""What runs of one seed share, from made-up fingerprints and from real runs."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from fedbal.comparison import pairing
from fedbal.comparison.outcomes import read
from fedbal.comparison.pairing import Pairing, check
from fedbal.errors import UsageError
from tests.comparison.runs import cell, made_up, protocol


def pair(tmp_path, *others, changes=(), strategy="fedavg"):
    """Pair FedAvg with runs that have other fingerprints."""
    cells = [cell("fedavg", 0, made_up(tmp_path / "fedavg", [0.1]))]
    for number, prints in enumerate(others):
        directory = made_up(
            tmp_path / f"other{number}", [0.1], fingerprints=prints, changes=changes, strategy=strategy
        )
        cells.append(cell(f"other{number}", 0, directory))
    labels = [one.method for one in cells]
    return check(read(protocol(*labels), cells))


def test_the_same_fingerprints_are_a_full_pair(tmp_path):
    found = pair(tmp_path, {})
    assert found.level == "full"
    assert [(one.method, one.seeds, one.level, one.reasons) for one in found.methods] == [
        ("other0", 1, "full", ())
    ]
    assert found.notes == ()
    assert found.sentence.startswith("Pairing is full")


@pytest.mark.parametrize(
    ("prints", "reason"),
    [
        ({"initial": "j", "initial_model": "i"}, pairing.TENSORS),
        ({"initial": "j"}, pairing.INITIAL),
        ({"cohorts": "d", "batches": "e"}, pairing.COHORTS),
        ({"batches": "e"}, pairing.BATCHES),
    ],
)
def test_what_a_rule_does_differently_makes_the_pair_partial(tmp_path, prints, reason):
    found = pair(tmp_path, prints, {})
    assert found.level == "partial"
    assert [(one.level, one.reasons) for one in found.methods] == [("partial", (reason,)), ("full", ())]
    assert found.sentence == (f"Pairing is partial (other0: {reason}); runs of one seed share the data.")


@pytest.mark.parametrize("change", ["systems.stragglers.fraction=0.5", "seed.training=9"])
def test_other_stragglers_make_the_pair_partial(tmp_path, change):
    assert pair(tmp_path, {}, changes=(change,)).methods[0].reasons == (pairing.SYSTEMS,)


def test_two_rules_with_the_same_extra_tensors_are_not_told_apart_from_the_baseline_by_them(tmp_path):
    extra = {"initial": "j", "initial_model": "i"}
    assert [one.reasons for one in pair(tmp_path, extra, extra).methods] == [(pairing.TENSORS,)] * 2


def test_the_centralised_row_does_not_make_the_whole_partial(tmp_path):
    found = pair(tmp_path, {"cohorts": "d", "batches": "e"}, strategy="centralised")
    assert found.methods[0].reasons == (pairing.POOLED,)
    assert found.level == "full"


def test_runs_on_other_data_are_refused(tmp_path):
    with pytest.raises(
        UsageError, match=r"other0 and fedavg ran on different data \(seed 0: partition q and p\)"
    ):
        pair(tmp_path, {"partition": "q"})


def test_other_seeds_and_data_sets_may_have_other_data(tmp_path):
    one = made_up(tmp_path / "one", [0.1], partition="p")
    two = made_up(tmp_path / "two", [0.1], partition="q")
    kind = type(cell("fedavg", 0, one))
    cells = [kind("x", "fedavg", 0, one), kind("x", "fedavg", 1, two), kind("y", "fedavg", 0, two)]
    found = check(read(protocol("fedavg", datasets=("x", "y")), cells))
    assert (found.level, found.methods) == ("full", ())


def test_a_reason_says_in_how_many_seeds_it_holds(tmp_path):
    cells = []
    for seed, cohorts in ((0, "c"), (1, "d")):
        cells.append(cell("fedavg", seed, made_up(tmp_path / f"a{seed}", [0.1])))
        prints = {"cohorts": cohorts}
        cells.append(cell("own", seed, made_up(tmp_path / f"b{seed}", [0.1], fingerprints=prints)))
    (found,) = check(read(protocol("fedavg", "own"), cells)).methods
    assert found.reasons == (f"{pairing.COHORTS} (in 1 of 2 seeds)",)
    assert found.seeds == 2


def test_runs_that_did_not_end_are_no_pairs(tmp_path):
    cells = [
        cell("fedavg", 0, made_up(tmp_path / "a", [0.1])),
        cell("other", 0, made_up(tmp_path / "b", [0.1], partition="q", status="running")),
    ]
    assert check(read(protocol("fedavg", "other"), cells)).methods == ()


def test_without_the_baseline_the_first_method_stands_for_it(tmp_path):
    cells = [
        cell("uniform", 0, made_up(tmp_path / "a", [0.1])),
        cell("other", 0, made_up(tmp_path / "b", [0.1])),
    ]
    found = check(read(protocol("uniform", "other"), cells), "fedavg")
    assert (found.baseline, [one.method for one in found.methods]) == ("uniform", ["other"])


def test_what_else_may_move_a_number_is_named(tmp_path):
    found = pair(
        tmp_path,
        {
            "engine": {"kind": "vectorized", "exchange": "sums"},
            "packages": {"torch": "3"},
            "hardware": {"processor": "another"},
            "code": "y",
        },
    )
    assert found.level == "full"
    assert found.notes == (
        "Runs differ in engine: kind loop (fedavg); kind vectorized (other0).",
        "Runs differ in packages: torch 2 (fedavg); torch 3 (other0).",
        "Runs differ in hardware: cpu (fedavg); another (other0).",
        "Runs were made with different versions of fedbal's code.",
    )


def test_how_models_travel_and_code_of_ones_own_are_no_differences(tmp_path):
    (tmp_path / "rule.py").write_text("from strategies.fedavg import FedAvg as Mine\n")
    own = f"{tmp_path}/rule.py:Mine"
    found = pair(tmp_path, {"engine": {"kind": "loop", "exchange": "sums"}, "code": "y"}, strategy=own)
    assert found.notes == ()


def test_real_runs(ran):
    found = check(read(protocol(), ran.cells))
    levels = {one.method: (one.level, one.reasons) for one in found.methods}
    assert levels == {
        "moon": ("partial", (pairing.TENSORS,)),
        "fedavg_finetuned": ("full", ()),
        "local_only": ("full", ()),
        "centralised": ("partial", (pairing.POOLED,)),
    }
    assert found.level == "partial"
    adapter = TypeAdapter(Pairing)
    written = json.dumps(adapter.dump_python(found, mode="json"))
    assert adapter.validate_python(json.loads(written)) == found
