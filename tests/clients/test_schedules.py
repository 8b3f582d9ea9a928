"""Round-wise learning rates against torch's schedulers, and through whole runs."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler as reference

from clients import SCHEDULES
from clients.optimizers import SGD, Adam
from clients.schedules import Constant, Cosine, Exponential, Step, WarmupCosine, scheduled
from fedbal.errors import UsageError
from fedbal.results import RunReader
from fedbal.simulation import resume, run
from tests.scenarios import digits, sha256

ROUNDS = 12


def torch_rates(make, rounds=ROUNDS):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler = make(optimizer)
    rates = []
    for _ in range(rounds):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def warmup_cosine(optimizer):
    rise = reference.LinearLR(optimizer, start_factor=0.25, total_iters=4)
    fall = reference.CosineAnnealingLR(optimizer, T_max=ROUNDS - 4, eta_min=0.4 * 0.05)
    return reference.SequentialLR(optimizer, [rise, fall], milestones=[4])


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (Constant(), lambda optimizer: reference.ConstantLR(optimizer, factor=1.0)),
        (Cosine(), lambda optimizer: reference.CosineAnnealingLR(optimizer, T_max=ROUNDS)),
        (Cosine(0.1), lambda optimizer: reference.CosineAnnealingLR(optimizer, T_max=ROUNDS, eta_min=0.04)),
        (Step(5, 0.3), lambda optimizer: reference.StepLR(optimizer, step_size=5, gamma=0.3)),
        (Exponential(0.8), lambda optimizer: reference.ExponentialLR(optimizer, gamma=0.8)),
        (WarmupCosine(4, 0.25, 0.05), warmup_cosine),
    ],
)
def test_factors_are_torchs(schedule, make):
    rates = [0.4 * schedule.factor(server_round, ROUNDS) for server_round in range(1, ROUNDS + 1)]
    assert rates == pytest.approx(torch_rates(make), rel=1e-12, abs=1e-15)


def test_a_warmup_longer_than_the_run_only_rises():
    factors = [WarmupCosine(10, 0.5).factor(server_round, 4) for server_round in range(1, 5)]
    assert factors == pytest.approx([0.5, 0.55, 0.6, 0.65])
    assert WarmupCosine(4, 0.5).factor(5, 4) == 1.0


def test_only_a_changed_rate_makes_a_copy():
    optimizer = SGD(0.4, 0.9)
    assert scheduled(optimizer, Constant(), 7, 10) is optimizer
    assert scheduled(optimizer, Cosine(), 1, 10) is optimizer
    later = scheduled(optimizer, Step(2, 0.5), 3, 10)
    assert (later.lr, later.momentum, optimizer.lr) == (0.2, 0.9, 0.4)
    assert scheduled(Adam(0.01), Exponential(0.1), 2, 10).lr == pytest.approx(0.001)


def test_an_optimizer_without_a_rate_is_named():
    class Own:
        def init(self, params):
            return {}

        def step(self, params, gradients, state): ...

    assert scheduled(Own(), Constant(), 2, 4).init({}) == {}
    with pytest.raises(ValueError, match="Own has none"):
        scheduled(Own(), Cosine(), 2, 4)


def test_every_schedule_of_the_table_can_be_chosen():
    needed = {"step": {"every": 3}, "exponential": {"gamma": 0.9}, "warmup_cosine": {"warmup_rounds": 2}}
    for name in SCHEDULES:
        block = {"name": name, **needed.get(name, {})}
        scenario = digits(f"client.optimizer.schedule={block}")
        chosen = scenario.client.optimizer.schedule
        schedule = SCHEDULES.load(name)(**chosen.kwargs())
        assert 0.0 < schedule.factor(1, 10) <= 1.0
        assert "schedule" not in scenario.client.optimizer.kwargs()


@pytest.mark.parametrize(
    "block", ["cosin", "{name: step}", "{name: exponential, gamma: 0}", "{name: cosine, final: 2}"]
)
def test_unusable_schedules_are_refused(block):
    with pytest.raises(UsageError, match=r"client\.optimizer\.schedule"):
        digits(f"client.optimizer.schedule={block}")


def losses(path):
    return [row["train"]["loss"] for row in RunReader(path).rounds()]


def test_a_run_follows_its_schedule_and_a_resumed_one_too(tmp_path):
    changes = ("client.optimizer.schedule={name: step, every: 2, gamma: 0.1}", "cohort.fraction=1.0")
    run(digits(*changes), tmp_path / "step")
    run(digits("cohort.fraction=1.0"), tmp_path / "plain")
    step, plain = losses(tmp_path / "step"), losses(tmp_path / "plain")
    assert step[:2] == plain[:2]
    assert step[3] != plain[3]

    class Stop(Exception):
        pass

    class AfterThree:
        def started(self, *_): ...
        def note(self, _): ...
        def finished(self, _): ...

        def round_finished(self, row):
            if row["round"] == 3:
                raise Stop

    with pytest.raises(Stop):
        run(digits(*changes), tmp_path / "part", observer=AfterThree())
    resume(tmp_path / "part")
    assert sha256(tmp_path / "part" / "model.safetensors") == sha256(tmp_path / "step" / "model.safetensors")


OWN = '''
from clients.optimizers import SGD

class Own(SGD):
    """A user's optimizer with its own parameter."""

    def __init__(self, rate):
        super().__init__(rate)
'''


def test_a_schedule_works_on_a_users_own_optimizer(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    block = "schedule: {name: exponential, gamma: 0.5}}"
    run(digits(f"client.optimizer={{name: '{tmp_path}/own.py:Own', rate: 0.1, {block}"), tmp_path / "own")
    run(digits(f"client.optimizer={{name: sgd, lr: 0.1, {block}"), tmp_path / "sgd")
    assert losses(tmp_path / "own") == losses(tmp_path / "sgd")
