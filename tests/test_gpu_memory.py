"""Workers a card: measured memory, arithmetic over bytes, and the share that Ray is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from clients.engine import Engine
from fedbal.assembly import assemble
from fedbal.backend import HERE, choose_device, choose_placement
from fedbal.errors import RunError, UsageError
from fedbal.gpu_memory import Measured, measure
from fedbal.grid.ray import RayGrid
from tests.grid.population import Counting, Factory, directory, nodes
from tests.scenarios import digits

GIB = 1 << 30


@pytest.mark.parametrize(
    ("peak", "total", "workers", "share"),
    [
        (GIB, 16 * GIB, 13, 0.0769),
        (3 * GIB, 16 * GIB, 4, 0.25),
        (10 * GIB, 16 * GIB, 1, 1.0),
        (20 * GIB, 16 * GIB, 1, 1.0),
        (5 * GIB, 12 * GIB, 2, 0.5),
    ],
)
def test_workers_share_a_card_with_head_room(peak, total, workers, share):
    found = Measured(peak, total)
    assert (found.workers, found.share) == (workers, share)
    assert found.share * workers <= 1
    assert found.workers == 1 or found.workers * peak * 1.2 <= total
    assert f"{share:g} a worker" in found.note


class Made(TorchDispatchMode):
    """Counts the bytes of everything that is computed."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, torch.Tensor):
                self.bytes += one.numel() * one.element_size()
        return result


def meter(work):
    with Made() as made:
        work()
    return Measured(made.bytes, 100 * made.bytes)


def needed(engine, *overrides):
    clients = assemble(digits(*overrides), "cpu").clients
    return measure(replace(clients, engine=engine), meter).peak


def test_a_step_of_more_clients_and_of_larger_batches_takes_more():
    one, four = needed(Engine()), needed(Engine("vectorized", 4))
    assert four > one
    assert needed(Engine(), "client.batch_size=40") > one
    assert needed(Engine(), "model.hidden=[256]") > one


@pytest.mark.parametrize("engine", [Engine(), Engine("vectorized", 4)])
def test_a_rule_whose_records_are_missing_is_measured_without_them(engine):
    assert needed(engine, "strategy=scaffold", "client.update=scaffold") > 0


def test_auto_without_a_card_is_one_message(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        UsageError, match=r"runtime.num_gpus is auto and this machine has no GPU.*set it to 0"
    ):
        choose_device(digits("runtime.num_gpus=auto").runtime)
    on_cpu = digits("runtime.num_gpus=auto", "runtime.device=cpu")
    assert choose_device(on_cpu.runtime) == "cpu"


def test_auto_is_a_reason_for_ray(monkeypatch):
    load = assemble(digits(), "cpu").load
    auto = digits("runtime.backend=auto", "runtime.num_gpus=auto").runtime
    pytest.importorskip("ray")
    assert choose_placement(auto, load).backend == "ray"
    assert choose_placement(auto.model_copy(update={"device": "cpu"}), load) == HERE


@pytest.fixture
def a_card():
    """A Ray instance that believes in one GPU."""
    ray = pytest.importorskip("ray")
    if ray.is_initialized():
        ray.shutdown()
    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def three_of_sixteen():
    return Measured(3 * GIB, 16 * GIB)


def broken():
    raise RuntimeError("no kernel image")


def grid_of(measure):
    options = {"costs": [1.0] * 6, "cohort": 6, "num_cpus": 0.25}
    return RayGrid(Factory(Counting), directory(), nodes(), num_gpus=measure, **options)


def test_ray_measures_first_and_starts_as_many_as_fit(a_card):
    with grid_of(three_of_sixteen) as grid:
        assert grid.workers == 4
        assert grid.notes == ["runtime.num_gpus auto: 0.25 a worker; a step took 3 of the card's 16 GiB"]
    with pytest.raises(RunError, match=r"measuring a step failed: no kernel image; give the share"):
        grid_of(broken)
