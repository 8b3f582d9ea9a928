"""A whole comparison: planted rules are found out, looks are kept, seeds can be added, shards joined."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import fedbal
from fedbal.cli import app
from fedbal.comparison import compare as comparing
from fedbal.comparison.compared import Compared
from fedbal.comparison.store import Store, is_done
from fedbal.errors import RunError, UsageError
from tests.comparison.quick import in_this_process
from tests.scenarios import DIGITS

PLANTED = """
import numpy as np
from strategies.fedavg import FedAvg

class Better(FedAvg):
    '''Twice the average step: plainly more in the first two rounds of these runs.'''
    def server_step(self, current, combined):
        return type(combined)({key: current[key] + 2 * (combined[key] - current[key]) for key in combined})

class Equal(FedAvg):
    '''FedAvg with a breath of noise, so that its numbers differ and its learning does not.'''
    def server_step(self, current, combined):
        noise = np.random.default_rng(0)
        return type(combined)(
            {key: (value + 1e-4 * noise.standard_normal(value.shape)).astype(value.dtype)
             for key, value in combined.items()}
        )
"""
SMALL = {
    **DIGITS,
    "name": "planted",
    "rounds": 2,
    "data": {"dataset": "digits", "partition": {"name": "dirichlet", "clients": 8, "alpha": 5.0}},
    "client": {"batch_size": 10, "optimizer": {"name": "sgd", "lr": 0.1}},
    "cohort": {"fraction": 1.0},
    "evaluation": {"every": 2, "min_client_samples": 5},
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """FedAvg, a better rule and an equal one on ten seeds."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "mine.py").write_text(PLANTED)
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch)
        return fedbal.compare(
            SMALL,
            ["fedavg", f"{folder / 'mine.py'}:Better", f"{folder / 'mine.py'}:Equal"],
            seeds="0-9",
            margin=0.02,
            references=False,
            out=folder / "out",
        )


@pytest.fixture
def quick(monkeypatch):
    """Runs in this process, and verdicts without figures and report."""
    in_this_process(monkeypatch)
    monkeypatch.setattr(comparing, "write_views", lambda compared: None)


def test_planted_rules_are_found_out(planted):
    verdicts = dict(planted.contrasts[["method", "verdict"]].itertuples(index=False))
    assert verdicts["Better"] == "better"
    assert verdicts["Equal"] in ("equivalent", "undecided")
    assert any("Better is better than fedavg" in sentence for sentence in planted.verdicts)
    assert planted.table["label"].iloc[0] == "Better"
    assert planted.compared.pairing.level == "full"


def test_a_comparison_is_data_frames_and_files(planted):
    assert len(planted.contrasts) == 2
    assert {"difference", "low", "high", "p_adjusted", "d_z"} <= set(planted.contrasts.columns)
    primary = planted.results.query("metric == 'test.balanced_accuracy'")
    assert primary.groupby("method")["seed"].count().to_dict() == {"fedavg": 10, "Better": 10, "Equal": 10}
    means = primary.groupby("method")["value"].mean()
    assert means["Better"] == pytest.approx(planted.table.set_index("label")["mean"]["Better"])
    assert set(planted.rounds["round"]) >= {2}
    written = {path.name for path in planted.directory.iterdir()}
    assert {"comparison.json", "plan.json", "results.csv", "table.md", "table.tex", "figures"} <= written
    assert planted.report.is_file()


def test_a_comparison_reads_as_it_was_written(planted):
    again = Compared.read(planted.directory)
    assert again.analysis == planted.compared.analysis
    assert again.protocol == planted.compared.protocol
    assert again.to_mapping() == planted.compared.to_mapping()
    path = planted.directory / "comparison.json"
    text = path.read_text()
    try:
        path.write_text("{")
        with pytest.raises(RunError, match="is damaged"):
            Compared.read(planted.directory)
        path.write_text(json.dumps({**json.loads(text), "version": 99}))
        with pytest.raises(RunError, match="version 99"):
            Compared.read(planted.directory)
    finally:
        path.write_text(text)
    with pytest.raises(UsageError, match="holds no finished comparison"):
        Compared.read(planted.directory / "runs")


def test_looks_are_kept_and_looking_again_spends_nothing(planted):
    (look,) = planted.compared.protocol.looks
    assert look.seeds == 10
    assert ("", "Better", "better") in look.decided
    again = comparing.judge(planted.directory, write=False)
    assert again.protocol.looks == planted.compared.protocol.looks
    assert again.analysis.contrasts == planted.compared.analysis.contrasts


def test_seeds_that_are_added_are_a_look_of_their_own(tmp_path, quick):
    first = fedbal.compare(SMALL, ["fedavg", "fedprox"], seeds="0-1", references=False, out=tmp_path / "out")
    assert [look.seeds for look in first.compared.protocol.looks] == [2]
    more = comparing.prepare_again(tmp_path / "out", {"seeds": (0, 1, 2, 3)})
    assert more.outlook.done == 4
    comparing.run(more)
    second = comparing.judge(tmp_path / "out", write=False)
    assert [look.seeds for look in second.protocol.looks] == [2, 4]
    assert second.protocol.looks[0] == first.compared.protocol.looks[0]
    assert second.protocol.planned_seeds == 2
    assert second.analysis.seeds == 4
    # Another comparison in the same directory takes the runs and sets the old verdict aside.
    other = fedbal.compare(
        SMALL,
        ["fedavg", "fedprox"],
        seeds="0-1",
        references=False,
        primary="test.accuracy",
        out=tmp_path / "out",
    )
    assert [look.seeds for look in other.compared.protocol.looks] == [2]
    kept = Compared.read(tmp_path / "out" / "earlier" / "1")
    assert kept.protocol.primary.name == "test.balanced_accuracy"
    assert all(record.directory.is_dir() for record in kept.records)


def test_shards_are_joined_to_the_whole(planted, tmp_path):
    """Each shard gets its runs from the planted comparison by hand, as if it had run them."""
    whole = comparing.prepare_again(planted.directory)
    folders = [tmp_path / f"shard{number}" for number in (1, 2)]
    for number, folder in enumerate(folders, 1):
        shard = comparing.prepare(whole.plan.declaration, folder, shard=f"{number}/2")
        assert len(shard.cells) == 15
        shard.store.keep(shard.plan, shard.shard)
        (folder / "runs").mkdir()
        for cell in shard.cells:
            (folder / "runs" / cell.address).symlink_to(planted.directory / "runs" / cell.address)
        assert comparing.prepare_again(folder).outlook.done == 15
        with pytest.raises(UsageError, match=f"holds shard {number}/2"):
            comparing.judge(folder)
    from fedbal.comparison.shards import join

    assert join(folders[:1], tmp_path / "half") == 15
    assert join(folders, tmp_path / "joined") == 0
    joined = comparing.judge(tmp_path / "joined", write=False)
    assert joined.analysis == planted.compared.analysis
    one = next((tmp_path / "joined" / "runs").iterdir()) / "model.safetensors"
    assert one.stat().st_nlink > 1
    other = replace(
        whole.plan.declaration,
        protocol=replace(whole.plan.protocol, primary=whole.plan.protocol.primary, margin=0.5),
    )
    strange = comparing.prepare(other, tmp_path / "strange", shard="1/2")
    strange.store.keep(strange.plan, strange.shard)
    with pytest.raises(UsageError, match="belong to different comparisons"):
        join([folders[0], tmp_path / "strange"], tmp_path / "wrong")
    with pytest.raises(UsageError, match="holds no shard"):
        join([tmp_path / "runs"], tmp_path / "wrong")
    with pytest.raises(UsageError, match="is one of the shards"):
        join(folders, folders[0])


def test_a_time_limit_leaves_whole_seeds_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "write_views", lambda compared: None)
    found = fedbal.compare(
        SMALL, ["fedavg", "fedprox"], seeds="0-2", budget="0.01s", references=False, out=tmp_path / "out"
    )
    cells = comparing.prepare_again(tmp_path / "out").cells
    assert {cell.seed for cell in cells if is_done(cell)} == {0}
    assert any(
        "The time limit ended the comparison before seeds 1-2" in note for note in found.compared.notes
    )
    assert {record.status for record in found.compared.records} == {"finished", "open"}


def test_tuned_rules_run_with_what_was_chosen(tmp_path, quick):
    base = {**SMALL, "data": {**SMALL["data"], "validation": 0.2}, "rounds": 1}
    found = fedbal.compare(
        base, ["fedavg", "fedprox"], seeds="0-1", tune=2, references=False, out=tmp_path / "out"
    )
    tuning = found.compared.tuning
    assert tuning["trials"] == 2
    kept = Store(tmp_path / "out").kept()
    changed = [label for label, changes in kept.tuned.items() if changes]
    cells = comparing.prepare_again(tmp_path / "out").cells
    for label in changed:
        scenario = next(cell.scenario for cell in cells if cell.method == label)
        plain = comparing.make_plan(kept.declaration, tmp_path, engines=kept.engines).cells
        assert scenario.resolved() != next(cell.scenario for cell in plain if cell.method == label).resolved()
    again = fedbal.compare(
        base, ["fedavg", "fedprox"], seeds="0-1", tune=2, references=False, out=tmp_path / "out"
    )
    assert again.compared.analysis == found.compared.analysis


def cli(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_prints_verdict_and_report(planted):
    result = cli("compare", "--resume", planted.directory)
    assert result.exit_code == 0, result.output
    assert "every run is there" in result.stdout
    assert "Better is better than fedavg" in result.stdout
    assert str(planted.report) in result.stdout
    plan = cli("compare", "--resume", planted.directory, "--dry-run", "--json")
    content = json.loads(plan.stdout)
    assert content["outlook"]["done"] == 30
    assert len(content["runs"]) == 30


def test_a_dry_run_plans_and_writes_nothing(tmp_path):
    out = tmp_path / "out"
    result = cli(
        *("compare", "quickstart", "--seeds", "0-4", "--set", "rounds=2", "--out", out, "--dry-run"),
        *("--vary", "data.partition.alpha=0.1,5", "--strategies", "fedavg,{name: fedprox, mu: 0.5}"),
    )
    assert result.exit_code == 0, result.output
    assert "fedavg (baseline), fedprox mu=0.5" in result.stdout
    assert "data.partition.alpha=0.1; data.partition.alpha=5" in result.stdout
    assert "5 seeds cannot reach significance" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give a scenario"),
        (("nowhere",), "no such file and no shipped scenario"),
        (("quickstart", "--strategies", "fedavg,fedprx"), "unknown strategy; did you mean fedprox"),
        (("quickstart", "--strategies", "fedavg,{"), "--strategies"),
        (("quickstart", "--strategies", "fedavg,./no.py:Rule"), "no file './no.py'"),
        (("quickstart", "--seeds", "5-1"), "ends before it begins"),
        (("quickstart", "--vary", "alpha"), "write key=value,value"),
        (("quickstart", "--vary", "rounds=1,x"), "rounds: got x"),
        (("quickstart", "--budget", "soon"), "write a time limit"),
        (("quickstart", "--primary", "luck"), "no place in a row"),
        (("quickstart", "--set", "seed=3"), "--set seed=3"),
        (("quickstart", "--shard", "3"), "--shard 3"),
        (("quickstart", "--resume", "x"), "--resume goes on with what was declared"),
        (("--resume", "x", "--margin", "0.1"), "takes no --margin"),
        (("--resume", "nowhere"), "holds no comparison to go on with"),
    ],
)
def test_every_mistake_is_one_message(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("compare", *arguments, "--dry-run")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "runs").exists()
