"""Every kind of bad reply is dropped with its reason."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import ArrayRecord

from fedbal.protocol import to_arrays, to_record
from strategies.fedavg import FedAvg
from strategies.feddisco import FedDisco
from strategies.report import ServerContext
from tests.strategies.replies import MODEL, ask, model, raw_array, reply_to


def dropped_reason(make_reply, rule=None):
    rule = rule or FedAvg()
    messages = ask(rule)
    good = reply_to(messages[0], model(1.0), 10)
    record, _ = rule.aggregate_train(1, [make_reply(messages[1]), good])
    np.testing.assert_allclose(to_arrays(record)["w"], model(1.0)["w"], rtol=1e-6)
    return rule.report.dropped[3]


def with_w(value):
    return {**MODEL, "w": value}


@pytest.mark.parametrize(
    ("arrays", "fragment"),
    [
        (with_w(np.zeros((3, 8), np.float32)), "(3, 8)"),
        (with_w(np.zeros((1, 3), np.float32)), "(1, 3)"),
        (with_w(np.float32(0).reshape(())), "()"),
        (with_w(MODEL["w"].astype(np.float64)), "float64"),
        (with_w(np.full((2, 3), np.inf, np.float32)), "non-finite"),
        ({"w": MODEL["w"]}, "missing ['steps']"),
        ({**MODEL, "more": np.zeros(1, np.float32)}, "unknown ['more']"),
    ],
)
def test_wrong_arrays(arrays, fragment):
    assert fragment in dropped_reason(lambda message: reply_to(message, arrays, 10))


def test_bytes_that_are_no_array_and_headers_that_lie():
    good = dict(to_record(MODEL))
    garbage = ArrayRecord({**good, "w": raw_array("float32", (2, 3), b"not an array")})
    assert "cannot be decoded" in dropped_reason(lambda message: reply_to(message, garbage, 10))
    small = to_record({"w": np.zeros((1, 1), np.float32)})["w"].data
    lying = ArrayRecord({**good, "w": raw_array("float32", (2, 3), small)})
    assert "(1, 1)" in dropped_reason(lambda message: reply_to(message, lying, 10))


@pytest.mark.parametrize("samples", [0, -5, float("nan"), float("inf"), [1, 2]])
def test_wrong_weights(samples):
    assert "positive finite" in dropped_reason(lambda message: reply_to(message, model(9.0), samples))


def test_stale_and_duplicate_replies():
    assert "stale" in dropped_reason(lambda message: reply_to(message, model(9.0), 10, server_round=7))
    rule = FedAvg()
    first = ask(rule)[0]
    record, _ = rule.aggregate_train(1, [reply_to(first, model(1.0), 10), reply_to(first, model(50.0), 10)])
    np.testing.assert_allclose(to_arrays(record)["w"], model(1.0)["w"], rtol=1e-6)
    assert "duplicate" in rule.report.dropped[2]


@pytest.mark.parametrize("counts", [(1, 2, 3), (0, 0), (-1, 5), (float("nan"), 1.0), ("a", "b")])
def test_wrong_label_counts(counts):
    rule = FedDisco()
    rule.context = ServerContext(num_classes=2)
    reason = dropped_reason(lambda message: reply_to(message, model(9.0), 10, counts=counts), rule)
    assert "label-counts" in reason


def test_missing_extras():
    def without(message):
        reply = reply_to(message, model(9.0), 10)
        del reply.content["extras"]
        return reply

    assert "lacks 'label-counts'" in dropped_reason(without, FedDisco())
