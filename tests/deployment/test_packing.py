"""A content in one array, and back."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedbal.deployment.packing import PACKED, pack, unpack
from fedbal.protocol import to_arrays, to_record


def content():
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3, np.int64)}
    return RecordDict(
        {
            "arrays": to_record(arrays),
            "config": ConfigRecord({"a": [1.5, 2.0], "b": b"\x00\xff", "c": True, "d": "x"}),
            "metrics": MetricRecord({"num-examples": 7, "loss": 0.1}),
        }
    )


def test_records_come_back_as_they_were():
    found = unpack(pack(content()))
    assert list(found) == ["arrays", "config", "metrics"]
    for name, value in to_arrays(content().array_records["arrays"]).items():
        there = to_arrays(found.array_records["arrays"])[name]
        assert (there.dtype, there.shape, there.tobytes()) == (value.dtype, value.shape, value.tobytes())
    assert dict(found.config_records["config"]) == dict(content().config_records["config"])
    assert dict(found.metric_records["metrics"]) == {"num-examples": 7, "loss": 0.1}


def test_what_is_packed_is_one_array_and_the_same_for_all():
    one, other = pack(content()), pack(content())
    assert list(one) == [PACKED]
    assert len(one.array_records[PACKED]) == 1
    assert one.object_id == other.object_id


def test_records_beside_stay():
    beside = ConfigRecord({"run": "1"})
    found = unpack(RecordDict({**pack(content()), "order": beside}))
    assert found.config_records["order"]["run"] == "1"
    assert unpack(RecordDict({"order": beside})).config_records["order"]["run"] == "1"


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"\x04\0\0\0\0\0\0\0[1]x"])
def test_nonsense_is_refused(data):
    broken = RecordDict({PACKED: ArrayRecord({"bytes": Array(np.frombuffer(data, np.uint8))})})
    with pytest.raises(Exception):  # noqa: B017  (whatever it is, the grid makes an error reply of it)
        unpack(broken)
