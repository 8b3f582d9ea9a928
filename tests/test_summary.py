"""Means over the last tenth of the rounds: worked by hand, and in the summary of a run."""

from __future__ import annotations

from fedbal.results import RunReader
from fedbal.simulation import run
from fedbal.summary import last_tenth
from tests.scenarios import digits


def rows(*tests):
    return [{"round": number, "test": test} for number, test in enumerate(tests, 1)]


def test_worked_example():
    tests = [{"accuracy": number / 100, "auroc": None, "per_class_recall": [1.0]} for number in range(1, 21)]
    tests[18]["auroc"] = 0.5
    found = last_tenth(rows(*tests), 20)
    assert found == {"from_round": 19, "to_round": 20, "evaluated": 2, "accuracy": 0.195, "auroc": 0.5}


def test_at_least_one_round_and_a_started_tenth_counts():
    tests = [{"accuracy": float(number)} for number in range(1, 12)]
    assert last_tenth(rows(*tests[:1]), 1)["accuracy"] == 1.0
    assert last_tenth(rows(*tests[:9]), 9)["accuracy"] == 9.0
    found = last_tenth(rows(*tests), 11)
    assert (found["from_round"], found["accuracy"]) == (10, 10.5)


def test_rounds_without_evaluation_do_not_count():
    tests = [None] * 17 + [{"accuracy": 0.0}, None, {"accuracy": 0.5}]
    assert last_tenth(rows(*tests), 20)["evaluated"] == 1
    assert last_tenth(rows(*tests), 20)["accuracy"] == 0.5
    assert last_tenth(rows(*tests[:19], None), 20) is None


def test_views_are_averaged_where_they_exist():
    tests = [
        {"natural": {"accuracy": 0.25, "prior": [1.0]}, "balanced": None},
        {"natural": {"accuracy": 0.75, "prior": [1.0]}, "balanced": None},
    ]
    found = last_tenth(rows(*[None] * 18, *tests), 20)
    assert found["natural"] == {"accuracy": 0.5}
    assert found["balanced"] is None


def test_the_summary_quotes_it_beside_the_final_round_and_a_best_that_names_its_round(tmp_path):
    result = run(digits("rounds=12", "client.local_epochs=1"), tmp_path / "run")
    tests = [row["test"] for row in RunReader(result.directory).rounds()]
    late = result.summary["last_10_percent"]
    assert (late["from_round"], late["to_round"], late["evaluated"]) == (11, 12, 2)
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece", "loss"):
        assert abs(late[key] - (tests[-1][key] + tests[-2][key]) / 2) < 1e-12, key
    assert result.summary["final"] == tests[-1]
    best = result.summary["best"]
    assert tests[best["round"] - 1]["balanced_accuracy"] == best["balanced_accuracy"]
