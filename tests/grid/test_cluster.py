"""Several machines: a run joins a cluster, and outlives the death of one of its machines with the same bytes."""

from __future__ import annotations

import threading

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from fedbal.errors import UsageError  # noqa: E402
from fedbal.grid.inprocess import InProcessGrid  # noqa: E402
from fedbal.grid.ray import RayGrid, require_answer  # noqa: E402
from tests.grid.population import Counting, Factory, Slow, directory, initial, nodes  # noqa: E402


@pytest.fixture
def cluster():
    if ray.is_initialized():
        ray.shutdown()
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield machines
    if ray.is_initialized():
        ray.shutdown()
    machines.shutdown()


def grid_of(machines, update, workers):
    options = {"costs": [60.0, 10.0, 30.0, 20.0, 40.0, 50.0], "cohort": 6, "workers": workers}
    return RayGrid(Factory(update), directory(), nodes(), address=machines.address, **options)


def train_all(grid, server_round):
    content = RecordDict({"arrays": initial(), "config": ConfigRecord({"server-round": server_round})})
    replies = grid.send_and_receive([Message(content, node, "train") for node in nodes()])
    return [(reply.content["arrays"]["classifier.weight"].data, reply.content["extras"]) for reply in replies]


def expected_rounds(count):
    grid = InProcessGrid(Factory(Counting)(), directory(), nodes())
    return [train_all(grid, server_round) for server_round in range(1, count + 1)]


def test_a_machine_that_dies_costs_its_running_work_only(cluster):
    other = cluster.add_node(num_cpus=1)
    first, second, third = expected_rounds(3)
    with grid_of(cluster, Slow, None) as grid:
        assert grid.workers == 2
        places = {node["NodeID"] for node in ray.nodes()}
        assert len(places) == 2
        assert train_all(grid, 1) == first
        death = threading.Timer(0.7, lambda: cluster.remove_node(other, allow_graceful=False))
        death.start()
        found = train_all(grid, 2)
        death.join()
        assert found == second
        assert (grid.replaced, grid.workers) == (1, 1)
        assert any("ran again" in note for note in grid.notes)
        assert any("1 worker(s) go on" in note for note in grid.notes)
        assert train_all(grid, 3) == third


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-machine.invalid:6379"])
def test_no_cluster_at_the_address_is_one_message(address):
    with pytest.raises(UsageError, match=f"no Ray cluster answers at runtime.address '{address}'"):
        require_answer(address)


def test_what_names_no_port_is_left_to_ray():
    require_answer("auto")
    require_answer("local")
