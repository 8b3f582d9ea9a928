"""What a site agrees to: manifests, their hashes, what is kept, what is written down, who is stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, MetricRecord, RecordDict
from typer.testing import CliRunner

from fedbal import protocol
from fedbal.cli import app
from fedbal.deployment import consent, items
from fedbal.deployment.allow import Allowed
from fedbal.deployment.bundle import SCENARIO, write_bundle
from fedbal.deployment.consent import Asking, Consent, NotAgreed, Offer, require_hashes
from fedbal.deployment.gate import Gate, Terms
from fedbal.deployment.manifest import Manifest, changes
from fedbal.deployment.order import EVALUATION, JOIN, ORDER, REPORT, Order, Report, Seat
from fedbal.deployment.sent import SENT, SentLog
from fedbal.deployment.server import with_clients
from fedbal.errors import RunError, UsageError
from fedbal.protocol import to_record
from fedbal.scenario import load, one_by_one
from strategies import STRATEGIES
from tests.scenarios import blobs, digits

RULES = sorted(set(STRATEGIES.keys()) - {"centralised"})
COUNTS = [120, 9, 0, 10]


def names(*overrides: str) -> list[str]:
    return [item.name for item in Manifest.of(digits(*overrides)).items]


def test_the_names_are_those_of_messages():
    same = ("LABEL_COUNTS", "CONFUSION", "PSEUDO", "TRAIN_LOSS")
    assert all(getattr(items, name) == getattr(protocol, name) for name in same)
    assert items.SAMPLES == protocol.NUM_EXAMPLES


def test_a_manifest_lists_what_rule_update_loss_and_measures_send():
    always = ["join", "join-class-counts", "model", "num-examples", "train-loss"]
    scores = ["scores", "confusion", "personal-confusion"]
    assert names() == [*always, *scores]
    assert names("strategy=feddisco") == [*always, "label-counts", *scores]
    assert names("strategy=scaffold") == [*always, "control-delta", *scores]
    assert names("strategy=fedbr") == [*always, "pseudo", *scores]
    assert names("client.loss={name: logit_adjustment, prior: global}") == [*always, "label-counts", *scores]
    asked = names("data.preprocess={scale: standard, impute: median}")
    assert asked == [*always, "moments", "histogram", *scores]
    overlap = [item.name for item in Manifest.of(blobs()).items]
    assert overlap[-3:] == ["scores", "overlap", "personal-overlap"]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_manifest_that_survives_json(rule):
    manifest = Manifest.of(digits(f"strategy={rule}"))
    again = Manifest.from_plain(json.loads(manifest.to_json()))
    assert again == manifest
    assert again.hash == manifest.hash
    assert all(item.size and item.frequency and item.privacy for item in manifest.items)


def test_secure_aggregation_is_marked_where_sums_would_do():
    could = {rule for rule in RULES if Manifest.of(digits(f"strategy={rule}")).summed}
    assert {"fedavg", "fedprox", "scaffold", "feddyn", "moon", "fedadam"} <= could
    assert not could & {"feddisco", "fedbr", "qfedavg", "fednova", "fedce"}


def test_a_hash_changes_with_what_was_agreed_to_and_the_change_is_named():
    first = Manifest.of(digits())
    assert Manifest.of(digits("deployment.round_timeout=5m")).hash == first.hash
    other = Manifest.of(digits("strategy=feddisco", "client.optimizer.lr=0.2"))
    assert other.hash != first.hash
    told = changes(first, other)
    assert "label-counts would be sent too" in told
    assert "client.optimizer.lr was 0.1 and is 0.2" in told
    assert "strategy.name was fedavg and is feddisco" in told
    short = changes(first, Manifest.of(digits("client.codec=int8")))
    assert "model is described otherwise" in short


def test_the_command_prints_manifest_and_hash():
    done = CliRunner().invoke(app, ["manifest", "quickstart", "--clients", "3", "--json"])
    found = json.loads(done.stdout)
    assert Manifest.from_plain(found["manifest"]).hash == found["hash"]
    plain = CliRunner().invoke(app, ["manifest", "quickstart", "--clients", "3"])
    assert found["hash"] in plain.stdout
    assert "could not live with secure aggregation" in plain.stdout


def test_coordinator_and_site_come_to_the_same_hash(tmp_path):
    chosen = one_by_one(with_clients(load("quickstart"), 3))
    write_bundle(chosen, tmp_path)
    (bundled,) = tmp_path.rglob(SCENARIO)
    done = CliRunner().invoke(app, ["manifest", "quickstart", "--clients", "3"])
    assert Manifest.of(load(bundled)).hash in done.stdout


def test_what_may_be_allowed():
    allowed = Allowed.parse(["label-histograms=no", "small-counts=yes", "pseudo-images=no", "pseudo=yes"])
    assert not allowed.permits("label-counts")
    assert not allowed.permits("confusion")
    assert allowed.permits("pseudo")
    assert allowed.told(COUNTS) == tuple(COUNTS)
    assert Allowed().told(COUNTS) == (120, None, None, 10)
    assert Allowed().counted(COUNTS) == [120, 0, 0, 10]
    for wrong in ("label-histograms", "=no", "pseudo=maybe", "model=no"):
        with pytest.raises(UsageError, match="--allow"):
            Allowed.parse([wrong])
    with pytest.raises(UsageError, match="--accept 'abc'"):
        require_hashes(["abc"])
    assert require_hashes(["any", "a" * 12]) == ("any", "a" * 12)


class Behind:
    """A site that answers everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, kind: str, group: str, content: RecordDict) -> RecordDict | Error:
        self.asked.append(kind)
        if kind == JOIN:
            counts = tuple(COUNTS)
            return RecordDict({REPORT: Report(name="site", own=True, samples=139, counts=counts).record()})
        arrays = to_record({"w": np.zeros((4, 5), np.float32)})
        metrics = MetricRecord({"num-examples": 139, "train-loss": 0.5})
        answer = RecordDict({"arrays": arrays, "metrics": metrics})
        requests = protocol.config_of(content).get(protocol.REQUESTS, [])
        if requests:
            answer["extras"] = ConfigRecord({name: list(map(float, COUNTS)) for name in requests})
        scores = MetricRecord({"num-examples": 40, "correct": 30, "loss": 0.1})
        answer[EVALUATION + "metrics"] = scores
        answer[EVALUATION + "extras"] = ConfigRecord({"confusion": [0, 30, 1, 10]})
        return answer


def site(folder: Path, *overrides: str, accept: tuple[str, ...] = ("any",), allow: tuple[str, ...] = ()):
    behind = Behind()
    return Gate(digits(*overrides), Terms("site", folder, accept, Allowed.parse(allow)), behind), behind


def message(*requests: str) -> RecordDict:
    config = ConfigRecord({protocol.SERVER_ROUND: 3})
    if requests:
        config[protocol.REQUESTS] = list(requests)
    return RecordDict({ORDER: Order("run-1", Seat(0)).record(), protocol.CONFIG: config})


def report(gate: Gate) -> Report:
    answer = gate.answer(JOIN, "0", message())
    assert isinstance(answer, RecordDict)
    return Report.of(answer)


def sent(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / SENT).read_text().splitlines()]


def test_what_leaves_is_written_down(tmp_path):
    gate, _ = site(tmp_path, "strategy=feddisco")
    assert report(gate).counts == (120, None, None, 10)
    answer = gate.answer("train", "1", message("label-counts"))
    assert isinstance(answer, RecordDict)
    assert answer["extras"]["label-counts"] == [120.0, 0.0, 0.0, 10.0]
    joined, trained = sent(tmp_path)
    assert joined["message"] == JOIN
    assert set(joined["items"]) == {"join", "join-class-counts"}
    assert (trained["run"], trained["round"], trained["message"]) == ("run-1", 3, "train")
    assert set(trained["items"]) == {
        *("model", "num-examples", "train-loss", "label-counts", "scores", "confusion")
    }
    assert trained["bytes"] == sum(record.count_bytes() for record in answer.values())


def test_nothing_is_answered_before_somebody_agrees(tmp_path):
    gate, behind = site(tmp_path, accept=())
    assert "its owner has not agreed yet" in report(gate).problem
    refused = gate.answer("train", "1", message())
    assert isinstance(refused, Error)
    assert gate.manifest.hash[:16] in (refused.reason or "")
    assert behind.asked == []
    assert [row["items"].keys() for row in sent(tmp_path)] == [{"join": 0}.keys(), {}.keys()]
    Consent(tmp_path).pin(gate.manifest.hash, gate.manifest.to_plain())
    assert not report(gate).problem
    assert isinstance(gate.answer("train", "1", message()), RecordDict)


def test_an_accepted_hash_is_pinned_and_a_changed_one_names_the_change(tmp_path):
    wanted = Manifest.of(digits()).hash
    gate, _ = site(tmp_path, accept=(wanted[:16],))
    assert not report(gate).problem
    again, _ = site(tmp_path, accept=())
    assert not report(again).problem
    other, behind = site(tmp_path, "strategy=feddisco", accept=())
    assert "not what it agreed to" in report(other).problem
    assert behind.asked == []
    waiting = Consent(tmp_path).offered()
    assert waiting is not None
    assert "label-counts would be sent too" in str(waiting[0].refusal())
    assert waiting[0].refusal().exit_code == 3


def test_what_is_not_allowed_is_told_at_the_join_and_refused_later(tmp_path):
    gate, behind = site(tmp_path, "strategy=feddisco", allow=("label-histograms=no",))
    assert "does not allow label-counts to leave it" in report(gate).problem
    assert "feddisco needs it" in report(gate).problem
    assert behind.asked == []
    plain, behind = site(tmp_path, allow=("label-histograms=no",))
    assert report(plain).problem == ""
    assert report(plain).counts is None
    asked = plain.answer("train", "1", message("label-counts"))
    assert isinstance(asked, Error)
    assert "--allow label-counts=no" in (asked.reason or "")
    assert "train" not in behind.asked
    answer = plain.answer("train", "1", message())
    assert isinstance(answer, RecordDict)
    assert "confusion" not in answer[EVALUATION + "extras"]
    assert answer[EVALUATION + "metrics"]["correct"] == 30
    silent, _ = site(tmp_path, allow=("scores=no",))
    answer = silent.answer("train", "1", message())
    assert isinstance(answer, RecordDict)
    assert set(answer) == {"arrays", "metrics"}
    assert isinstance(silent.answer("evaluate", "1", message()), Error)


def test_what_no_manifest_lists_does_not_leave(tmp_path):
    gate, _ = site(tmp_path)
    refused = gate.answer("train", "1", message("secrets"))
    assert isinstance(refused, Error)
    assert "secrets, which the manifest does not list" in (refused.reason or "")
    assert sent(tmp_path)[-1]["items"] == {}
    assert "secrets" in sent(tmp_path)[-1]["error"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_cannot_be_written_down_does_not_leave(tmp_path):
    gate, _ = site(tmp_path)
    (tmp_path / SENT).symlink_to("/dev/full")
    refused = gate.answer("train", "1", message())
    assert isinstance(refused, Error)
    assert "could not be written down, so nothing does: no space left" in (refused.reason or "")
    with pytest.raises(RunError, match="no space left"):
        SentLog(tmp_path).record("run", 1, "train", {})


def test_a_person_is_asked_once(tmp_path):
    folder, typed, said = Consent(tmp_path), iter([None, "y\n"]), []
    asking = Asking(folder, said.append, lambda: next(typed))
    asking.step()
    gate, _ = site(tmp_path, accept=())
    assert report(gate).problem
    asking.step()
    asking.step()
    asking.step()
    assert not report(gate).problem
    assert sum("Agree to this" in line for line in said) == 1
    assert any(gate.manifest.hash in line for line in said)
    assert [one["hash"] for one in folder.agreed()] == [gate.manifest.hash]


@pytest.mark.parametrize(
    ("typed", "differs", "told"),
    [("n\n", (), "not agreed"), (None, (), "--accept"), ("y\n", ("x became y",), "x became y")],
)
def test_a_site_stops_where_nobody_agrees(tmp_path, monkeypatch, typed, differs, told):
    monkeypatch.setattr(consent, "TELL", 0.0)
    folder = Consent(tmp_path)
    asking = Asking(folder, lambda _: None, (lambda: typed) if typed else None)
    asking._answer = (lambda: typed) if typed else None
    folder.offer(Offer("ab" * 32, ("what leaves",), differs), {})
    with pytest.raises(NotAgreed, match=told) as caught:
        asking.step()
    assert caught.value.exit_code == 3


def test_a_damaged_agreement_is_one_message(tmp_path):
    (tmp_path / "consent.json").write_text("{")
    with pytest.raises(RunError, match=r"consent\.json is damaged"):
        Consent(tmp_path).agreed()
