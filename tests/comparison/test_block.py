"""The ``compare:`` block: what it accepts, what it refuses, and that no run depends on it."""

from __future__ import annotations

import pytest

from fedbal.comparison.block import parse_budget, parse_seeds, write_seeds
from fedbal.errors import UsageError
from fedbal.scenario import from_mapping, json_schema, load
from tests.scenarios import DIGITS, digits


@pytest.mark.parametrize(
    ("given", "seeds"),
    [("0-3", (0, 1, 2, 3)), ("0-2,7", (0, 1, 2, 7)), (" 5 ", (5,)), (4, (4,)), ([3, 1], (3, 1))],
)
def test_seeds_are_read(given, seeds):
    assert parse_seeds(given) == seeds
    assert parse_seeds(write_seeds(seeds)) == seeds


@pytest.mark.parametrize("given", ["", "0-", "3-1", "a", "0,0", "0-3,2", [], "0-99999999", "-1"])
def test_what_are_no_seeds_is_refused(given):
    with pytest.raises(ValueError, match=r".+"):
        parse_seeds(given)


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        ("10m", ("seconds", 600.0)),
        ("90s", ("seconds", 90.0)),
        ("1.5h", ("seconds", 5400.0)),
        ("rounds=50", ("rounds", 50.0)),
        ("bytes=200MB", ("bytes", 2e8)),
        ("bytes=1e6", ("bytes", 1e6)),
        ("client_seconds=600", ("client_seconds", 600.0)),
    ],
)
def test_budgets_are_read(given, budget):
    assert parse_budget(given) == budget


@pytest.mark.parametrize("given", ["", "10", "10x", "rounds=", "rounds=1.5", "rounds=5MB", "steps=3", "0s"])
def test_what_is_no_budget_is_refused(given):
    with pytest.raises(ValueError, match=r".+"):
        parse_budget(given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "compare.strategies=[fedavg, fedprx]",
            r"compare.strategies\[1\]: got fedprx; unknown strategy; did you",
        ),
        (
            "compare.strategies=[{name: fedprox, mu: -1}]",
            r"compare.strategies\[0\].*mu: .*greater than or equal",
        ),
        ("compare.strategies=[./nowhere.py:Rule]", r"no file './nowhere.py'"),
        ("compare.strategies=[]", r"compare.strategies: got \[\]"),
        ("compare.seeds=0-", r"compare.seeds: got 0-; write seeds as 0-9"),
        ("compare.budget=10x", r"compare.budget: got 10x; write a time limit"),
        ("compare.margin=0", r"compare.margin: got 0; a number > 0 is needed"),
        ("compare.references=[fedfoo]", r"compare.references: got"),
        ("compare.sed=1", r"compare.sed: unknown key; did you mean seeds"),
    ],
)
def test_a_mistake_in_the_block_is_one_message(change, said):
    with pytest.raises(UsageError, match=said) as found:
        digits(change)
    assert "\n" not in str(found.value)


def test_a_block_may_name_everything_in_its_short_form(tmp_path):
    (tmp_path / "mine.py").write_text("from strategies.fedavg import FedAvg\nclass Mine(FedAvg):\n    pass\n")
    block = {
        "strategies": [
            "fedavg",
            {"name": "fedprox", "mu": 0.5},
            {"label": "focal", "set": {"client.loss": "focal"}},
            {"name": "fedprox", "label": "own label"},
            "./mine.py:Mine",
        ],
        "seeds": [1, 2],
        "vary": {"data.partition.alpha": [0.1, 1.0]},
    }
    found = from_mapping({**DIGITS, "compare": block}, base=tmp_path).compare
    assert [side.label for side in found.strategies] == [None, None, "focal", "own label", None]
    assert [side.strategy and side.strategy.name for side in found.strategies] == [
        "fedavg",
        "fedprox",
        None,
        "fedprox",
        f"{tmp_path / 'mine.py'}:Mine",
    ]


def test_no_run_depends_on_the_block():
    plain, block = digits(), digits("compare.seeds=0-3", "compare.margin=0.01")
    assert block.compare.margin == 0.01
    assert block.resolved() == plain.resolved()
    assert block.to_yaml() == plain.to_yaml()
    assert "compare" not in plain.resolved()


def test_editors_know_the_block():
    properties = json_schema()["$defs"]["CompareBlock"]["properties"]
    assert "fedprox" in str(properties["strategies"])
    assert properties["alpha"]["exclusiveMaximum"] == 1.0


def test_shipped_blocks_declare_what_they_can_compare():
    from fedbal.comparison.base import open_base
    from fedbal.comparison.declaration import declare
    from fedbal.scenario import shipped

    own = [name for name, _ in shipped() if load(name).compare is not None]
    assert "quickstart" in own
    for name, _ in shipped():
        declared = declare(open_base(name))
        assert len(declared.rivals) >= 2, name
        assert declared.protocol.baseline in [method.label for method in declared.rivals], name
