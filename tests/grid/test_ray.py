"""Ray workers give the same bytes as one process, and survive the death of a worker."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import strategy as stock

ray = pytest.importorskip("ray")

from fedbal.errors import RunError, UsageError  # noqa: E402
from fedbal.fingerprints import of_code  # noqa: E402
from fedbal.grid.inprocess import InProcessGrid  # noqa: E402
from fedbal.grid.ray import RayGrid, check_origins, origins  # noqa: E402
from fedbal.protocol import to_arrays  # noqa: E402
from tests.grid.population import Factory, directory, initial, nodes  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster():
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def ray_grid(workers, **options):
    costs = [60.0, 10.0, 30.0, 20.0, 40.0, 50.0]
    return RayGrid(Factory(), directory(), nodes(), costs=costs, cohort=6, workers=workers, **options)


def train_all(grid, server_round=1):
    content = RecordDict({"arrays": initial(), "config": ConfigRecord({"server-round": server_round})})
    return grid.send_and_receive([Message(content, node, "train") for node in nodes()])


@pytest.mark.parametrize("workers", [1, 2])
def test_bytes_and_state_equal_those_of_one_process(workers):
    expected_grid = InProcessGrid(Factory()(), directory(), nodes())
    with ray_grid(workers) as grid:
        for server_round in (1, 2):
            expected, found = train_all(expected_grid, server_round), train_all(grid, server_round)
            for left, right in zip(expected, found, strict=True):
                assert left.metadata.src_node_id == right.metadata.src_node_id
                for name, array in left.content["arrays"].items():
                    assert array.data == right.content["arrays"][name].data
                assert left.content["extras"] == right.content["extras"]


def test_stock_strategy_starts_on_it():
    with ray_grid(2) as grid:
        result = stock.FedAdam(eta=0.01).start(grid, initial(), num_rounds=2)
    plain = stock.FedAdam(eta=0.01).start(
        InProcessGrid(Factory()(), directory(), nodes()), initial(), num_rounds=2
    )
    for name, value in to_arrays(plain.arrays).items():
        np.testing.assert_allclose(value, to_arrays(result.arrays)[name], atol=1e-6)


def test_a_killed_worker_is_replaced_and_its_clients_run_again():
    with ray_grid(2) as grid:
        expected = [reply.content["arrays"]["classifier.weight"].data for reply in train_all(grid)]
        os.kill(ray.get(grid._pool[0].ready.remote()), signal.SIGKILL)
        grid.states.rollback()
        found = [reply.content["arrays"]["classifier.weight"].data for reply in train_all(grid)]
        assert found == expected
        assert grid.replaced == 1


def test_a_request_that_does_not_fit_names_what_would():
    with pytest.raises(UsageError, match=r"not enough CPUs: 3 worker\(s\).*workers to 2"):
        ray_grid(3)
    with pytest.raises(UsageError, match=r"not enough GPUs.*no GPU: set runtime.num_gpus to 0"):
        ray_grid(1, num_gpus=0.25)


def test_other_copies_of_the_packages_are_refused_unless_they_are_the_same():
    shadowed = {**origins(), "clients": "/elsewhere/clients/__init__.py"}
    with pytest.raises(RunError, match="shadows"):
        check_origins(shadowed, "another hash")
    check_origins(shadowed, of_code())
