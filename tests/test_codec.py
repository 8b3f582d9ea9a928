"""Shortened updates: how far off they are, what error feedback gives back, who must agree to the bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flwr.app import Message, MetricRecord, RecordDict

from fedbal import cohort_round, protocol
from fedbal.codec import Encoded, decode, decoded_replies, encode
from fedbal.grid import flower
from fedbal.protocol import to_arrays, to_record
from fedbal.simulation import resume, run
from strategies.base import AggregationRule
from strategies.validation import signature, validate
from tests.scenarios import digits, sha256


def model(seed: int, scale: float = 1.0) -> dict:
    draw = np.random.default_rng(seed)
    return {
        "weight": (scale * draw.normal(size=(7, 5))).astype(np.float32),
        "bias": (scale * draw.normal(size=5)).astype(np.float32),
        "one": np.asarray(scale * draw.normal(), np.float32),
        "batches": np.asarray(seed, np.int64),
    }


@pytest.mark.parametrize(("codec", "bits"), [("fp16", 11), ("int8", None)])
def test_a_round_trip_is_as_exact_as_its_codec(codec, bits):
    received, trained = model(1), model(2)
    encoded, _ = encode(codec, received, trained, {})
    decoded = decode(codec, received, encoded.arrays, encoded.scales)
    assert signature(decoded) == signature(trained)
    assert decoded["batches"] == 2
    for name in ("weight", "bias", "one"):
        update = np.abs(trained[name] - received[name])
        allowed = update * 2.0**-bits if bits else update.max() / 127 / 2
        rounding = 2e-7 * (np.abs(trained[name]) + np.abs(received[name]))
        assert (np.abs(decoded[name] - trained[name]) <= allowed + rounding).all()
    assert encoded.arrays["weight"].dtype == {"fp16": np.float16, "int8": np.int8}[codec]


def test_error_feedback_gives_back_over_rounds_what_a_round_loses():
    received = {name: np.zeros_like(value) for name, value in model(0).items()}
    error, sent, plain, true = {}, 0.0, 0.0, 0.0
    for number in range(200):
        trained = model(number, scale=1e-3)
        # One large entry a tensor: alone, the small ones would round to nothing every time.
        trained["weight"][0, 0], trained["weight"][1:] = 1.0, 1e-3
        encoded, error = encode("int8", received, trained, error)
        sent = sent + decode("int8", received, encoded.arrays, encoded.scales)["weight"]
        alone, _ = encode("int8", received, trained, {})
        plain = plain + decode("int8", received, alone.arrays, alone.scales)["weight"]
        true = true + trained["weight"]
    np.testing.assert_allclose(sent + error["weight"], true, atol=1e-3)
    assert np.abs(sent - true).max() <= 1.5 / 127 / 2
    assert np.abs(plain - true).max() > 0.15


def test_nothing_to_send_and_what_is_no_number():
    received = model(1)
    encoded, error = encode("int8", received, received, {})
    assert encoded.scales == [0.0, 0.0, 0.0]
    assert all((decode("int8", received, *encoded[1:])[name] == received[name]).all() for name in received)
    bad = {**received, "bias": np.full(5, np.inf, np.float32)}
    for codec in ("fp16", "int8"):
        encoded, error = encode(codec, received, bad, error)
        assert not np.isfinite(decode(codec, received, encoded.arrays, encoded.scales)["bias"]).any()
    assert "bias" not in error, "a client whose model was lost begins anew"


@pytest.fixture
def sent() -> Message:
    flower.become()
    return Message(RecordDict({protocol.ARRAYS: to_record(model(1))}), 2, "train")


def reply_to(message: Message, encoded: Encoded) -> Message:
    content = RecordDict(
        {
            protocol.ARRAYS: to_record(encoded.arrays),
            protocol.METRICS: MetricRecord({protocol.NUM_EXAMPLES: 3}),
            protocol.REPLY: encoded.config(1),
        }
    )
    return Message(content, reply_to=message)


def test_a_reply_is_decoded_before_it_is_checked(sent):
    encoded, _ = encode("int8", model(1), model(2), {})
    (decoded,) = decoded_replies([reply_to(sent, encoded)], [sent])
    found = validate([decoded], signature(model(1)), 1)
    assert not found.dropped
    expected = decode("int8", model(1), encoded.arrays, encoded.scales)
    assert all((found.replies[0].arrays[name] == expected[name]).all() for name in expected)
    (plain,) = decoded_replies([reply_to(sent, Encoded("fp32", model(2), []))], [sent])
    assert (to_arrays(protocol.arrays_of(plain.content))["bias"] == model(2)["bias"]).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"codec": "zip"}, "codec 'zip' is unknown; known: fp32, fp16, int8"),
        ({"scales": [1.0]}, "1 scales for 3 tensors"),
        ({"scales": [1.0, float("nan"), 1.0]}, "non-finite values in array 'bias'"),
        ({"arrays": {"bias": np.zeros(1, np.int8)}}, r"'bias' is int8 \(1,\), it must be int8 \(5,\)"),
        ({"arrays": {"bias": np.zeros(5, np.float32)}}, "'bias' is float32"),
        ({"arrays": {"bias": None}, "scales": [1.0, 1.0]}, r"missing \['bias'\]"),
    ],
)
def test_a_reply_that_cannot_be_decoded_is_dropped_and_named(sent, change, reason):
    encoded, _ = encode("int8", model(1), model(2), {})
    arrays = {**encoded.arrays, **change.get("arrays", {})}
    arrays = {name: value for name, value in arrays.items() if value is not None}
    broken = Encoded(change.get("codec", "int8"), arrays, change.get("scales", encoded.scales))
    found = validate(decoded_replies([reply_to(sent, broken)], [sent]), signature(model(1)), 1)
    assert not found.replies
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.dropped[2])


def test_the_bytes_up_are_those_that_travel(tmp_path):
    up, models = {}, {}
    for codec in ("fp32", "fp16", "int8"):
        summary = run(digits("rounds=1", f"client.codec={codec}"), tmp_path / codec).summary
        up[codec], models[codec] = summary["bytes"]["up"], sha256(tmp_path / codec / "model.safetensors")
    run(digits("rounds=1"), tmp_path / "default")
    assert sha256(tmp_path / "default" / "model.safetensors") == models["fp32"]
    assert len(set(models.values())) == 3
    assert up["int8"] < up["fp16"] < up["fp32"]


@pytest.mark.parametrize("codec", ["fp16", "int8"])
@pytest.mark.parametrize("rule", ["fedavg", "scaffold"])
def test_messages_stacks_and_sums_come_to_the_same_files(codec, rule, tmp_path, monkeypatch):
    found = {}
    for kind in ("messages", "stacks", "sums"):

        def choose(strategy, *_, kind=kind):
            assert isinstance(strategy, AggregationRule)
            return "stacks" if kind == "sums" and rule == "scaffold" else kind

        monkeypatch.setattr(cohort_round, "choose_exchange", choose)
        run(digits("rounds=3", f"strategy={rule}", f"client.codec={codec}"), tmp_path / kind)
        rounds = [json.loads(line) for line in (tmp_path / kind / "rounds.jsonl").read_text().splitlines()]
        numbers = [{key: value for key, value in row.items() if key != "seconds"} for row in rounds]
        found[kind] = (sha256(tmp_path / kind / "model.safetensors"), numbers)
    assert found["messages"] == found["stacks"] == found["sums"]


def test_what_a_codec_has_lost_survives_a_resume(tmp_path):
    class StopAfterTwo:
        def started(self, *_): ...
        def note(self, _): ...
        def finished(self, _): ...

        def round_finished(self, row):
            if row["round"] == 2:
                raise StopIteration

    scenario = digits("client.codec=int8")
    run(scenario, tmp_path / "whole")
    with pytest.raises(StopIteration):
        run(scenario, tmp_path / "part", observer=StopAfterTwo())
    resume(tmp_path / "part")
    models = {sha256(tmp_path / name / "model.safetensors") for name in ("whole", "part")}
    assert len(models) == 1


def test_a_stock_strategy_gets_whole_models(tmp_path):
    changes = ("rounds=2", "strategy=flwr.serverapp.strategy:FedAvg", "evaluation.clients=cohort")
    exact = run(digits(*changes), tmp_path / "fp32").summary
    short = run(digits(*changes, "client.codec=fp16"), tmp_path / "fp16").summary
    assert short["bytes"]["up"] < 0.7 * exact["bytes"]["up"]
    assert abs(short["final"]["loss"] - exact["final"]["loss"]) < 0.05
