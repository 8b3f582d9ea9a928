"""The thin ClientApp always answers: with what the worker says, or with an error that says what happened."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedbal.deployment import wire
from fedbal.deployment.hand_over import HandOver
from fedbal.grid import flower
from fedbal.protocol import to_arrays, to_record
from fedbal.records import from_bytes, to_bytes


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Return a function that serves one connection on the worker's socket."""
    path = tmp_path / "worker"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(1)
    monkeypatch.setenv(wire.WORKER, str(path))
    threads = []

    def serve(handler):
        def run():
            connection, _ = listening.accept()
            with connection:
                handler(connection)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()

    yield serve
    for thread in threads:
        thread.join(5)
    listening.close()


def ask(ttl=30.0):
    flower.become()
    content = RecordDict(
        {
            "arrays": to_record({"w": np.arange(6, dtype=np.float32)}),
            "config": ConfigRecord({"server-round": 3}),
        }
    )
    message = Message(content, 5, "train", ttl=ttl, group_id="3")
    return HandOver(__file__)(message, Context(1, 5, {}, RecordDict(), {}))


def test_the_worker_gets_the_message_and_its_answer_comes_back(served):
    heard = {}

    def answer(connection):
        heard["head"], body = wire.receive(connection)
        heard["content"] = from_bytes(body)
        wire.send(connection, {}, to_bytes(RecordDict({"reply": ConfigRecord({"x": [1, 2]})})))

    served(answer)
    reply = ask()
    assert reply.content.config_records["reply"]["x"] == [1, 2]
    assert heard["head"]["kind"] == "train"
    assert heard["head"]["group"] == "3"
    assert heard["head"]["seconds"] == 30.0
    assert to_arrays(heard["content"].array_records["arrays"])["w"].tolist() == list(range(6))


def test_the_workers_error_is_the_answer(served):
    served(lambda c: (wire.receive(c), wire.send(c, {"code": 2, "error": "ValueError: no rows"})))
    assert ask().error.reason == "ValueError: no rows"


def test_a_worker_that_dies_is_an_error(served):
    served(wire.receive)
    reply = ask()
    assert reply.error.code == 8
    assert "ended before it answered" in reply.error.reason


def test_a_worker_that_hangs_is_an_error_in_time(served):
    release = threading.Event()
    served(lambda c: release.wait(10))
    reply = ask(ttl=1.0)
    release.set()
    assert reply.error.code == 8
    assert "within 1 s" in reply.error.reason


def test_nonsense_from_the_worker_is_an_error(served):
    served(lambda c: (wire.receive(c), c.sendall((1 << 40).to_bytes(8, "little"))))
    reply = ask()
    assert reply.error.code == 2
    assert "a head of" in reply.error.reason


def test_without_a_worker_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv(wire.WORKER, str(tmp_path / "nobody"))
    assert ask().has_error()
    monkeypatch.delenv(wire.WORKER)
    assert "fedbal client" in ask().error.reason


def test_the_entry_module_imports_neither_torch_nor_training_code():
    code = (
        "import sys; import fedbal.deployment.hand_over\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'clients', 'strategies', 'ray')]\n"
        "print(bad)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
