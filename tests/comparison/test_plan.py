"""What is declared and planned: sides, data sets, seeds, addresses, engines, shards, and what can be shown."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fedbal.comparison import compare as comparing
from fedbal.comparison.address import address
from fedbal.comparison.base import open_base
from fedbal.comparison.declaration import declare
from fedbal.comparison.engines import Engines, choose
from fedbal.comparison.execute import processes
from fedbal.comparison.outlook import lines, outlook, warnings
from fedbal.comparison.plan import make_plan, share
from fedbal.comparison.records import Look
from fedbal.comparison.store import identity
from fedbal.errors import UsageError
from tests.scenarios import BLOBS, DIGITS, digits


def declared(*changes, base=DIGITS, **flags):
    return declare(open_base(base, changes), flags)


def labels(declaration, *, references=False):
    return [method.label for method in declaration.protocol.methods if method.reference == references]


def planned(tmp_path, *changes, **flags):
    """Plan without looking at data: every client is trained by itself."""
    declaration = declared(*changes, **flags)
    alone = {"vectorize": False, "compile": False}
    chosen = {
        dataset: {method.label: alone for method in declaration.protocol.methods}
        for dataset in declaration.protocol.datasets
    }
    return make_plan(declaration, tmp_path, engines=Engines(chosen))


def test_nothing_named_is_a_sensible_list():
    found = declared("strategy=feddisco")
    assert labels(found) == ["fedavg", "feddisco", "fedprox", "fednova"]
    assert labels(found, references=True) == ["uniform", "local_only", "centralised", "fedavg_finetuned"]
    assert found.protocol.baseline == "fedavg"
    assert found.protocol.seeds == tuple(range(10))
    assert "fedavg, feddisco, fedprox, fednova are compared, seeds 0-9" in found.notes[0]
    masks = declared(base=BLOBS)
    assert labels(masks) == ["fedavg", "fedce", "uniform", "fedprox"]
    assert masks.protocol.primary.name == "test.dice"


def test_a_rule_named_as_the_scenarios_own_keeps_its_parameters():
    own = "strategy={name: fedprox, mu: 0.1}"
    found = declared(own, strategies=["fedavg", "fedprox", {"name": "fedprox", "mu": 1.0}])
    mus = [found.scenario("", method).strategy for method in found.rivals]
    assert [getattr(one, "mu", None) for one in mus] == [None, 0.1, 1.0]
    assert labels(found) == ["fedavg", "fedprox", "fedprox mu=1.0"]
    updates = [found.scenario("", method).client.update.name for method in found.rivals]
    assert updates == ["standard", "proximal", "proximal"]


def test_a_loaded_scenario_lets_each_rule_choose_its_update_again():
    scenario = digits("strategy={name: fedprox, mu: 0.1}", "compare.seeds=0-2")
    found = declare(open_base(scenario), {"strategies": ["fedavg", "fedprox"]})
    assert [found.scenario("", method).client.update.name for method in found.rivals] == [
        "standard",
        "proximal",
    ]
    assert found.protocol.seeds == (0, 1, 2)


def test_any_key_makes_data_sets_and_keys_of_the_rule_make_rules():
    found = declared(
        strategies=["fedavg", "fedprox"],
        vary={"data.partition.alpha": [0.1, 5.0], "client.loss": ["cross_entropy", "focal"]},
    )
    assert found.protocol.datasets == (
        "data.partition.alpha=0.1, loss=cross_entropy",
        "data.partition.alpha=0.1, loss=focal",
        "data.partition.alpha=5.0, loss=cross_entropy",
        "data.partition.alpha=5.0, loss=focal",
    )
    last = found.scenario(found.protocol.datasets[-1], found.rivals[1])
    assert (last.data.partition.alpha, last.client.loss.name) == (5.0, "focal")
    rules = declared("strategy=fedprox", vary={"strategy.mu": [0.1, 1.0]})
    assert labels(rules) == ["fedavg", "fedprox mu=0.1", "fedprox mu=1.0"]
    assert labels(declared(vary={"strategy": ["fedavg", "fedyogi"]})) == ["fedavg", "fedyogi"]


def test_losses_are_compared_with_the_first_side_that_is_fedavg():
    sides = [
        {"label": "plain", "set": {"client.loss": "cross_entropy"}},
        {"set": {"client.loss": {"name": "focal", "gamma": 1.0}}},
    ]
    found = declared(strategies=sides)
    assert labels(found) == ["plain", "fedavg, loss=focal (gamma 1.0)"]
    assert found.protocol.baseline == "plain"
    # The base is FedAvg with cross-entropy, so its reference row would be the same run.
    assert "fedavg" not in labels(found, references=True)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"strategies": ["fedavg", "fedprx"]}, "strategies.*unknown strategy; did you mean fedprox"),
        ({"strategies": ["fedavg", "fedavg"]}, "two sides of the comparison are called 'fedavg'"),
        ({"strategies": ["fedavg"]}, "only fedavg is named"),
        ({"seeds": "0-"}, "seeds: got '0-'; write seeds as 0-9"),
        ({"baseline": "fedfoo"}, "no side is called 'fedfoo'; there are fedavg"),
        ({"primary": "test.bar"}, "test.bar is no place"),
        ({"margin": -1.0}, "margin: got -1.0"),
        ({"budget": "long"}, "budget: got 'long'; write a time limit"),
        ({"vary": {"data.partition.alfa": [1]}}, "data.partition.alfa: unknown key"),
        ({"vary": {"rounds": [1, 1]}}, "a value is named twice"),
        ({"vary": {"strategy.nu": [1]}}, "strategy.nu: unknown key"),
        ({"vary": {"strategy": ["fedavg"]}, "strategies": ["fedavg"]}, "name all rules in strategies"),
    ],
)
def test_what_cannot_be_compared_is_one_message(flags, said):
    with pytest.raises(UsageError, match=said):
        declared(**flags)


def test_a_seed_that_every_run_would_override_is_refused():
    with pytest.raises(UsageError, match="--set seed=3: a comparison gives every run its seed"):
        declared("seed=3")
    kept = declared("seed.partition=7", "compare.seed_axes=[init, training]")
    seeds = kept.seeded(kept.base.scenario, 4).seed
    assert (seeds.partition, seeds.init, seeds.training) == (7, 4, 4)


def test_cells_stand_seed_by_seed_with_all_sides_of_a_seed_together(tmp_path):
    plan = planned(
        tmp_path, strategies=["fedavg", "fedprox"], seeds="3,5", references=False, vary={"rounds": [1, 2]}
    )
    assert [(cell.seed, cell.dataset, cell.method) for cell in plan.cells] == [
        (seed, dataset, method)
        for seed in (3, 5)
        for dataset in ("rounds=1", "rounds=2")
        for method in ("fedavg", "fedprox")
    ]
    assert len({cell.address for cell in plan.cells}) == 8
    assert all(cell.directory == tmp_path / "runs" / cell.address for cell in plan.cells)
    assert all(cell.scenario.runtime.vectorize is False for cell in plan.cells)


def test_an_address_is_of_what_can_change_a_byte(tmp_path):
    base = digits()
    for change in ("name=other", "runtime.workers=2", "runtime.backend=ray", "compare.seeds=0-3"):
        assert address(digits(change)) == address(base), change
    for change in ("seed=1", "rounds=5", "runtime.threads=2", "runtime.vectorize=false", "strategy=fedprox"):
        assert address(digits(change)) != address(base), change
    rule = "from strategies.fedavg import FedAvg\nclass Mine(FedAvg):\n    pass\n"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(rule)
    first, second = (digits(f"strategy={tmp_path / folder / 'mine.py'}:Mine") for folder in ("a", "b"))
    assert address(first) == address(second)
    (tmp_path / "b" / "mine.py").write_text(rule.replace("pass", "scale = 2"))
    assert address(first) != address(second)


def test_shards_are_whole_seeds_where_there_are_enough(tmp_path):
    plan = planned(tmp_path, strategies=["fedavg", "fedprox"], seeds="0-4", references=False)
    parts = [share(plan.cells, f"{number}/2") for number in (1, 2)]
    assert [sorted({cell.seed for cell in part}) for part in parts] == [[0, 2, 4], [1, 3]]
    singles = [share(plan.cells, f"{number}/10") for number in range(1, 11)]
    assert sorted(cell.address for part in singles for cell in part) == sorted(c.address for c in plan.cells)
    assert {len(part) for part in singles} == {1}
    for text in ("0/2", "3/2", "x", "1", "1/11"):
        with pytest.raises(UsageError, match=f"--shard {text}"):
            share(plan.cells, text)


def test_one_engine_serves_all_rules(tmp_path):
    wide = ("runtime.costs=" + str(tmp_path / "costs.yaml"), "cohort={fraction: 1.0}")
    (tmp_path / "costs.yaml").write_text(
        "costs:\n- {device: cpu, layers: [dense], parameters: 100000, chunk: 4, fewest: 2}\n"
    )
    alike = {"": {name: digits(f"strategy={name}", *wide) for name in ("fedavg", "fedprox", "centralised")}}
    found = choose(alike, frozenset({"centralised"}))
    assert found.chosen[""]["fedavg"]["vectorize"] is True
    assert found.chosen[""]["fedavg"] == found.chosen[""]["fedprox"]
    assert found.seconds[""]["fedavg"] > 1.0
    assert not found.notes
    # A user's update with local steps of its own cannot be trained together with others.
    (tmp_path / "mine.py").write_text(
        "from clients.standard import Standard\nclass Mine(Standard):\n    steps_along_loss = False\n"
    )
    own = digits(f"client.update={tmp_path / 'mine.py'}:Mine", *wide)
    mixed = choose({"": {"fedavg": digits(*wide), "mine": own}}, frozenset())
    assert {engine["vectorize"] for engine in mixed.chosen[""].values()} == {False}
    assert "one engine serves all rules" in mixed.notes[0]


def test_a_rule_that_cannot_run_stops_the_others_only_if_none_can():
    missing = digits("data={dataset: table, path: no.npz, label: y, partition: {name: iid, clients: 2}}")
    found = choose({"": {"good": digits(), "bad": missing}}, frozenset())
    assert any("bad cannot run: no file or folder" in note for note in found.notes)
    with pytest.raises(UsageError, match=r"no\.npz"):
        choose({"": {"bad": missing}}, frozenset())


def test_the_plan_says_what_so_many_seeds_can_show(tmp_path):
    few = planned(tmp_path, strategies=["fedavg", "fedprox"], seeds="0-4", references=False)
    seen = outlook(few, few.cells)
    assert seen.smallest_p == pytest.approx(0.0625)
    assert seen.detectable is None
    assert (seen.runs, seen.done) == (10, 0)
    assert any(
        "5 seeds cannot reach significance" in text and "6 seeds can" in text for text in warnings(few, seen)
    )
    more = planned(tmp_path, strategies=["fedavg", "fedprox"], seeds="0-9", references=False)
    seen = outlook(more, more.cells)
    # A paired t test with 10 pairs at 5 % shows d_z = 1.00 with 80 % power (G*Power).
    assert seen.detectable == pytest.approx(1.0, abs=0.01)
    assert not warnings(more, seen)
    text = "\n".join(lines(more, seen))
    assert "fedavg (baseline), fedprox" in text
    assert "standard deviations of the paired differences" in text
    same = planned(tmp_path, strategies=["fedavg", {"label": "again", "strategy": "fedavg"}], seeds="0-9")
    assert any(
        "fedavg and again are the same runs" in text for text in warnings(same, outlook(same, same.cells))
    )


def test_a_plan_is_kept_and_found_again(tmp_path):
    declaration = declared(
        "rounds=1", strategies=["fedavg", "fedprox"], seeds="0-1", vary={"client.batch_size": [5, 10]}
    )
    prepared = comparing.prepare(declaration, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prepared.store.keep(prepared.plan)
    again = comparing.prepare_again(tmp_path / "out")
    assert [cell.address for cell in again.plan.cells] == [cell.address for cell in prepared.plan.cells]
    assert again.plan.protocol == prepared.plan.protocol
    more = comparing.prepare_again(tmp_path / "out", {"seeds": (0, 1, 2)})
    assert more.plan.protocol.seeds == (0, 1, 2)
    assert {cell.address for cell in again.plan.cells} < {cell.address for cell in more.plan.cells}
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    (tmp_path / "out" / "plan.json").write_text(json.dumps({**content, "version": 99}))
    with pytest.raises(Exception, match="version 99"):
        comparing.prepare_again(tmp_path / "out")
    with pytest.raises(UsageError, match="holds no comparison to go on with"):
        comparing.prepare_again(tmp_path)


def test_the_command_makes_the_same_comparison(tmp_path):
    import shlex

    from fedbal.cli_compare import _axes, _list

    sides = [
        "fedavg",
        {"name": "fedprox", "mu": 0.5},
        {"label": "focal loss", "set": {"client.loss": "focal"}},
    ]
    first = declared(
        "rounds=3",
        base="quickstart",
        strategies=sides,
        seeds="0-2,5",
        vary={"data.partition.alpha": [0.1, 1]},
    )
    words = shlex.split(comparing.command(first))
    given = {}
    changes = []
    for flag, value in zip(words[3::2], words[4::2], strict=True):
        if flag == "--set":
            changes.append(value)
        else:
            given[flag.removeprefix("--")] = value
    given["strategies"] = _list("--strategies", given["strategies"])
    given["vary"] = _axes([given["vary"]])
    given["margin"] = float(given["margin"])
    again = declared(*changes, base=words[2], **given)
    assert labels(again) == labels(first)
    assert again.protocol.datasets == first.protocol.datasets
    for dataset in first.protocol.datasets:
        for one, other in zip(first.rivals, again.rivals, strict=True):
            assert first.scenario(dataset, one).resolved() == again.scenario(dataset, other).resolved()


def test_another_text_of_a_rule_is_another_comparison(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from strategies.fedavg import FedAvg\nclass Mine(FedAvg):\n    pass\n")
    sides = ["fedavg", f"{path}:Mine"]
    first = identity(declared(strategies=sides, seeds="0-1"))
    assert identity(declared(strategies=sides, seeds="0-9", references=False)) == first
    assert identity(declared("runtime.workers=2", strategies=sides)) == first
    assert identity(declared(strategies=sides, margin=0.1)) != first
    assert identity(declared("rounds=9", strategies=sides)) != first
    path.write_text(path.read_text() + "    scale = 2\n")
    assert identity(declared(strategies=sides, seeds="0-1")) != first


def test_a_missing_extra_is_named_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "find_spec", lambda name: None if name == "plotly" else name)
    with pytest.raises(UsageError, match=r"comparing needs plotly: pip install 'fedbal\[report\]'"):
        comparing.prepare(declared(strategies=["fedavg", "fedprox"]), tmp_path / "out")


def test_threads_and_cards_bound_the_processes(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    runtime = digits().runtime
    assert processes(runtime, None) == 8
    assert processes(runtime, 3) == 3
    assert processes(digits("runtime.threads=3").runtime, None) == 2
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert processes(digits("runtime.num_gpus=0.25").runtime, None) == 4
    assert processes(digits("runtime.num_gpus=1").runtime, None) == 1


def test_looks_that_spent_alpha_are_told_before_more_seeds_run(tmp_path):
    plan = planned(tmp_path, strategies=["fedavg", "fedprox"], seeds="0-19", references=False)
    looked = replace(plan.protocol, planned_seeds=10, looks=(Look(10, 0.05, "2026-01-01T00:00:00Z"),))
    before = SimpleNamespace(protocol=looked)
    seen = outlook(plan, plan.cells, before=before)
    # Ten seeds attain .05 nearly exactly, in steps of 1 / 512.
    assert 0 <= seen.level < 2 / 512
    assert seen.level == pytest.approx(0.05 - 25 / 512)
    (warning,) = warnings(plan, replace(seen, level=0.0))
    assert "Earlier looks have spent all of alpha" in warning
