"""From ``fedbal new`` to ``fedbal check``: the templates work, and every broken promise is named with its fix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clients import UPDATES
from fedbal.contract import check, runs, updates
from fedbal.errors import UsageError
from fedbal.scaffold import create, names
from tests.test_cli import call, fails

ROOT = Path(__file__).parents[1]

RULE = """
import numpy as np
from strategies.base import AggregationRule
from strategies.fedavg import FedAvg

class Mine({base}):
{body}
"""

UPDATE = """
import torch
from clients.base import ClientUpdate
from clients.standard import Standard

class Mine({base}):
{body}
"""


def write(folder: Path, template: str, base: str, body: str) -> str:
    path = folder / "mine.py"
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    path.write_text(template.format(base=base, body=lines))
    return f"{path}:Mine"


def failed(reference: str, *, train: bool = False) -> dict[str, str]:
    return {v.title: v.seen for v in check(reference, train=train) if v.status == "failed"}


@pytest.mark.parametrize("kind", ["strategy", "update"])
def test_what_new_writes_passes_its_own_test(kind, tmp_path):
    done = call("new", kind, "SquareRoot", "--dir", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert f"fedbal check {tmp_path}/square_root.py:SquareRoot" in done.stdout
    text = (tmp_path / "square_root.py").read_text() + (tmp_path / "test_square_root.py").read_text()
    assert "template" not in text.lower()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout


def test_what_new_writes_is_clean(tmp_path):
    for kind in ("strategy", "update"):
        create(kind, f"my_{kind}", tmp_path)
    config = str(ROOT / "pyproject.toml")
    for command in (["check", "--ignore", "INP001"], ["format", "--check"]):
        ran = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--config", config, str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_nothing_is_overwritten(tmp_path):
    create("strategy", "MyRule", tmp_path)
    before = (tmp_path / "my_rule.py").read_bytes()
    assert "my_rule.py exists" in fails(2, "new", "update", "my-rule", "--dir", str(tmp_path))
    (tmp_path / "test_other.py").write_text("mine")
    assert "test_other.py exists" in fails(2, "new", "update", "other", "--dir", str(tmp_path))
    assert (tmp_path / "my_rule.py").read_bytes() == before
    assert not (tmp_path / "other.py").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MyRule", ("my_rule", "MyRule")),
        ("my_rule", ("my_rule", "MyRule")),
        ("my-rule", ("my_rule", "MyRule")),
        ("FedXYZ", ("fed_xyz", "FedXYZ")),
        ("rule2", ("rule2", "Rule2")),
    ],
)
def test_names(name, expected):
    assert names(name) == expected


@pytest.mark.parametrize(
    "name",
    ["", "1rule", "my rule", "../x", "a__b", "json", "torch", "Fedbal", "class", "test_x", "é", "x" * 61],
)
def test_names_that_cannot_be(name, tmp_path):
    with pytest.raises(UsageError, match=r"cannot be used|is taken"):
        create("strategy", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind(tmp_path):
    assert "did you mean strategy?" in fails(2, "new", "strategie", "x", "--dir", str(tmp_path))


BROKEN_RULES = {
    "order of replies does not matter": (
        "FedAvg",
        """
def __init__(self):
    super().__init__()
    self.order = []
def check(self, reply):
    self.order.append(reply.node)
def aggregate_train(self, server_round, replies):
    replies = list(replies)
    self.first = replies[0].metadata.src_node_id
    return super().aggregate_train(server_round, replies)
def weights(self, replies):
    raw = np.array([2.0 if reply.node == self.first else 1.0 for reply in replies])
    return raw / raw.sum()
""",
    ),
    "one client in, that client out": (
        "FedAvg",
        "def weights(self, replies): return np.full(len(replies), 1 / 3)",
    ),
    "weights are a distribution": (
        "FedAvg",
        "def weights(self, replies): return np.array([r.num_examples for r in replies]) / 25.0001",
    ),
    "equal models stay": (
        "FedAvg",
        """
def combine(self, replies, weights):
    mean = super().combine(replies, weights)
    return {**mean, "w": mean["w"] * np.float32(1.01)}
""",
    ),
    "a client with NaN is named and dropped": (
        "FedAvg",
        """
def aggregate_train(self, server_round, replies):
    good = [one for one in replies if one.has_content()]
    return super().aggregate_train(server_round, good)
""",
    ),
    "without a valid reply the model stays": (
        "FedAvg",
        """
def aggregate_train(self, server_round, replies):
    result = super().aggregate_train(server_round, replies)
    if result == (None, None):
        raise RuntimeError("nobody replied")
    return result
""",
    ),
    "state survives a checkpoint": (
        "FedAvg",
        """
def server_step(self, current, combined):
    self.rounds = getattr(self, "rounds", 0) + 1
    return {**combined, "w": combined["w"] * np.float32(self.rounds)}
""",
    ),
    "dtypes, shapes and integer buffers are kept": (
        "FedAvg",
        """
def combine(self, replies, weights):
    return {name: value.astype(np.float64) for name, value in super().combine(replies, weights).items()}
""",
    ),
    "two instances agree": (
        "FedAvg",
        """
calls = []
def weights(self, replies):
    self.calls.append(1)
    raw = np.array([reply.num_examples + len(self.calls) for reply in replies])
    return raw / raw.sum()
""",
    ),
    "parameters are only stored": (
        "FedAvg",
        """
def __init__(self, power=0.5):
    super().__init__()
    self.power = power * 2
""",
    ),
}


@pytest.mark.parametrize("title", list(BROKEN_RULES))
def test_a_rule_that_breaks_a_promise_is_named(title, tmp_path):
    found = failed(write(tmp_path, RULE, *BROKEN_RULES[title]))
    assert title in found
    assert found[title]


BROKEN_UPDATES = {
    "the loss is a finite number": "def loss(self, f, p, b, z): return super().loss(f, p, b, z) * float('nan')",
    "the loss is pure": """
def loss(self, f, p, b, z):
    self.calls = getattr(self, "calls", 0) + 1
    return super().loss(f, p, b, z) * self.calls
""",
    "the gradient is finite": """
def loss(self, f, p, b, z):
    first = next(iter(p.values()))
    return super().loss(f, p, b, z) + (first - first).square().sum().sqrt()
""",
    "padding counts for nothing": """
def loss(self, f, p, b, z):
    return super().loss(f, p, b, z) + f(p, b.x).square().mean()
""",
    "the received model stays": """
def after(self, local, trained):
    for value in local.received.values():
        value.add_(1.0)
    return {}
""",
    "two instances agree": """
calls = []
def loss(self, f, p, b, z):
    self.calls.append(1)
    return super().loss(f, p, b, z) * len(self.calls)
""",
    "parameters are only stored": """
def __init__(self, criterion, beta=0.5):
    super().__init__(criterion)
    self.strength = beta
""",
}


@pytest.mark.parametrize("title", list(BROKEN_UPDATES))
def test_an_update_that_breaks_a_promise_is_named(title, tmp_path):
    assert title in failed(write(tmp_path, UPDATE, "Standard", BROKEN_UPDATES[title]))


def test_an_update_that_cannot_be_vectorised_is_said_to_fall_back(tmp_path):
    body = """
def loss(self, f, p, b, z):
    loss = super().loss(f, p, b, z)
    return loss * 2 if loss.item() > 1.0 else loss
"""
    reference = write(tmp_path, UPDATE, "Standard", body)
    found = {verdict.title: verdict for verdict in check(reference, train=False)}
    verdict = found["many clients train at once"]
    assert verdict.status == "skipped"
    assert "falls back to the loop" in verdict.seen
    assert all(one.status != "failed" for one in found.values())


@pytest.mark.parametrize("name", list(UPDATES))
@pytest.mark.parametrize("item", updates.ITEMS, ids=lambda item: item.title)
def test_every_shipped_update_keeps_the_contract(name, item):
    assert item.check(updates.UpdateSubject(UPDATES.load(name)))


def test_state_that_a_resumed_run_would_miss_is_found_by_the_run(tmp_path):
    body = """
def weights(self, replies):
    self.rounds = getattr(self, "rounds", 0) + 1
    raw = np.array([reply.num_examples for reply in replies]) ** self.rounds
    return raw / raw.sum()
"""
    found = failed(write(tmp_path, RULE, "FedAvg", body), train=True)
    assert "a resumed run has the same bytes" in found
    assert "differs" in found["a resumed run has the same bytes"]


def test_ray_repeats_the_bytes():
    pytest.importorskip("ray")
    with runs.Trial({"strategy": "fedavg"}) as trial:
        assert "the same bytes" in runs.ray_agrees(trial)


@pytest.mark.parametrize("name", ["FedAvg", "FedAdam", "FedMedian", "FedAvgM", "Krum"])
def test_stock_strategies_pass_as_far_as_the_contract_applies(name):
    verdicts = check(f"flwr.serverapp.strategy:{name}", train=False)
    assert [verdict for verdict in verdicts if verdict.status == "failed"] == []
    assert {verdict.status for verdict in verdicts} == {"passed", "skipped"}


def test_the_command_names_what_fails_and_how_to_fix_it(tmp_path):
    reference = write(tmp_path, RULE, *BROKEN_RULES["one client in, that client out"])
    done = call("check", reference)
    assert done.exit_code == 1
    line = next(line for line in done.stdout.splitlines() if line.startswith("FAILED  one client in"))
    assert "away from what it must be" in line
    assert "fix: divide by the sum of the weights" in done.stdout
    assert "failed" in done.stdout.splitlines()[-1]


def test_the_command_passes_parameters(tmp_path):
    file, _, _ = create("strategy", "MyRule", tmp_path)
    done = call("check", f"{file}:MyRule", "--set", "power=0.25")
    assert done.exit_code == 0, done.output
    assert "12 passed, 0 failed, 0 do not apply" in done.stdout
    assert "power must be in [0, 1], got 3" in fails(2, "check", f"{file}:MyRule", "--set", "power=3")
    assert "write name=value" in fails(2, "check", f"{file}:MyRule", "--set", "power")


@pytest.mark.parametrize(
    ("reference", "fragment"),
    [
        ("fedavgg", "did you mean fedavg"),
        ("./nothing.py:Mine", "no file"),
        ("numpy:array", "takes a subclass of strategies.base.AggregationRule"),
        ("strategies.fedavg:FedAvgg", "did you mean FedAvg"),
    ],
)
def test_what_cannot_be_checked(reference, fragment):
    assert fragment in fails(2, "check", reference)


def test_a_constructor_without_defaults_is_explained(tmp_path):
    body = "def __init__(self, power):\n    super().__init__()\n    self.power = power"
    assert "give every parameter a default" in fails(2, "check", write(tmp_path, RULE, "FedAvg", body))


@pytest.mark.parametrize("command", ["init", "new", "check", "evaluate", "predict", "export"])
def test_help_teaches_by_example(command):
    text = call(command, "--help").stdout
    assert f"fedbal {command}" in text.split("Example", 1)[1]
